//! The election under everything that can go wrong: two or three candidates, each with a clock of its own speed and a
//! wall clock that jumps, calls that are lost on either way or land long after they were given up, processes that
//! stand still, are killed, or resign. Never two who may act at one true moment, and in the end always one.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Milliseconds of true time.
type True = u64;

/// Until then everything goes wrong.
const STORM: True = 120_000;
/// What was sent in the storm has landed by then, and terms of holders who died in it are over.
const CALM: True = STORM + 60_000;
const END: True = CALM + 60_000;
const DEADLINE: True = 3_000;
/// The longest time that a call takes, or that a process stands still.
const LONG: True = 40_000;

/// Numbers that look random and are the same for the same seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

struct Candidate {
    election: Election,
    /// Thousandths: how fast its clock runs.
    rate: u64,
    /// What its clock shows at the beginning.
    began: Moment,
    /// Tells what it waits for from what it has given up.
    turn: u64,
}

impl Candidate {
    fn moment(&self, t: True) -> Moment {
        self.began + Moment::from_micros(t * self.rate)
    }

    fn may_act(&self, t: True) -> bool {
        self.election.may_act_until().is_some_and(|until| self.moment(t) < until)
    }
}

enum Call {
    Get,
    Write { over: Option<String>, record: LeaseRecord },
}

/// What happens to a candidate in one of its turns.
enum Event {
    Step,
    Lands { call: Call, sent: True },
    Answer { answer: Result<Option<LeaseView>, ()>, wrote: bool, sent: True },
    GivenUp,
}

struct World {
    dice: Dice,
    timing: LeaseTiming,
    candidates: Vec<Candidate>,
    lease: Option<LeaseView>,
    events: BTreeMap<(True, u64), (usize, u64, Event)>,
    count: u64,
    now: True,
}

impl World {
    fn new(seed: u64, candidates: usize, timing: LeaseTiming) -> Self {
        let (dice, events) = (Dice(seed), BTreeMap::new());
        let mut world = Self { dice, timing, candidates: Vec::new(), lease: None, events, count: 0, now: 0 };
        for index in 0..candidates {
            let candidate = world.candidate(0);
            world.candidates.push(candidate);
            world.after(0, index, Event::Step);
        }
        world
    }

    fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn candidate(&mut self, turn: u64) -> Candidate {
        let election = Election::new(format!("candidate-{}", self.number()), self.timing);
        let (rate, began) = (850 + self.dice.below(300), Moment::from_secs(self.dice.below(1_000_000)));
        Candidate { election, rate, began, turn }
    }

    fn after(&mut self, wait: True, index: usize, event: Event) {
        let key = (self.now + wait, self.number());
        self.events.insert(key, (index, self.candidates[index].turn, event));
    }

    /// In the storm, one in so many times.
    fn goes_wrong(&mut self, one_in: u64) -> bool {
        self.now < STORM && self.dice.one_in(one_in)
    }

    fn delay(&mut self) -> True {
        let longest = if self.goes_wrong(6) { LONG } else { 200 };
        self.dice.below(longest)
    }

    fn pause(&mut self) -> True {
        if self.goes_wrong(20) { self.dice.below(LONG) } else { 0 }
    }

    fn send(&mut self, index: usize, call: Call) {
        self.candidates[index].turn += 1;
        let (lands, given_up) = (self.delay(), DEADLINE + self.pause());
        if !self.goes_wrong(6) {
            self.after(lands, index, Event::Lands { call, sent: self.now });
        }
        self.after(given_up, index, Event::GivenUp);
    }

    /// What the API server does.
    fn serve(&mut self, call: Call) -> Result<Option<LeaseView>, ()> {
        if let Call::Write { over, record } = call {
            if self.lease.as_ref().map(|lease| &lease.version) != over.as_ref() {
                return Err(());
            }
            self.lease = Some(LeaseView { version: self.number().to_string(), record });
        }
        Ok(self.lease.clone())
    }

    fn step(&mut self, index: usize) {
        if self.goes_wrong(40) {
            return self.end(index);
        }
        let Candidate { election, rate, .. } = &self.candidates[index];
        let (now, rate) = (self.candidates[index].moment(self.now), *rate);
        match election.step(now) {
            LeaseStep::Wait(until) => {
                let wait = True::try_from((until - now).as_micros()).unwrap() / rate + 1;
                let pause = self.pause();
                self.after(wait + pause, index, Event::Step);
            }
            LeaseStep::Look => self.send(index, Call::Get),
            LeaseStep::Create | LeaseStep::Renew | LeaseStep::TakeOver => {
                // The wall clock stands still or jumps about.
                let clock = if self.dice.one_in(2) { 0 } else { self.dice.below(2_000_000_000) };
                let clock = Timestamp::from_second(clock.try_into().unwrap()).unwrap();
                let election = &self.candidates[index].election;
                let record = election.claim(clock);
                let over = election.observed().and_then(|seen| seen.version.clone());
                self.send(index, Call::Write { over, record });
            }
        }
    }

    /// It is killed, or it resigns; somebody new comes in its place.
    fn end(&mut self, index: usize) {
        if self.dice.one_in(2)
            && let Some((version, record)) = self.candidates[index].election.resign()
        {
            self.send(index, Call::Write { over: Some(version), record });
        }
        self.candidates[index] = self.candidate(self.candidates[index].turn + 1);
        let wait = self.delay();
        self.after(wait, index, Event::Step);
    }

    fn happens(&mut self, index: usize, turn: u64, event: Event) {
        if let Event::Lands { call, sent } = event {
            let wrote = matches!(call, Call::Write { .. });
            let answer = self.serve(call);
            let wait = self.delay();
            if self.candidates[index].turn == turn && !self.goes_wrong(6) {
                self.after(wait, index, Event::Answer { answer, wrote, sent });
            }
            return;
        }
        let candidate = &mut self.candidates[index];
        if candidate.turn != turn {
            return;
        }
        candidate.turn += 1;
        let now = candidate.moment(self.now);
        match event {
            Event::Step | Event::Lands { .. } => return self.step(index),
            Event::Answer { answer: Ok(Some(view)), wrote: true, sent } => {
                let sent = candidate.moment(sent);
                candidate.election.wrote(view, sent, now);
            }
            Event::Answer { answer: Ok(view), .. } => candidate.election.saw(view, now),
            Event::Answer { answer: Err(()), .. } | Event::GivenUp => {
                let wait = self.timing.look / 2 + Moment::from_millis(self.dice.below(1_000));
                candidate.election.failed(now + wait);
            }
        }
        self.after(0, index, Event::Step);
    }

    /// Plays to the end. Gives how many might act at once at most, and who might when all was calm and at the end.
    fn play(mut self) -> (usize, Option<usize>, Option<usize>) {
        let mut most = 0;
        let mut when_calm = None;
        while let Some(((moment, _), (index, turn, event))) = self.events.pop_first() {
            if self.now < CALM && moment >= CALM {
                when_calm = self.acting().first().copied();
            }
            if moment >= END {
                break;
            }
            self.now = moment;
            self.happens(index, turn, event);
            // Only an event lets somebody act; time alone only ends it.
            most = most.max(self.acting().len());
        }
        (most, when_calm, self.acting().first().copied())
    }

    fn acting(&self) -> Vec<usize> {
        (0..self.candidates.len()).filter(|&index| self.candidates[index].may_act(self.now)).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn never_two_may_act_at_once_and_in_the_end_one_does(seed: u64, candidates in 1_usize..=3) {
        let (most, when_calm, at_the_end) = World::new(seed, candidates, LeaseTiming::STANDARD).play();
        prop_assert!(most <= 1, "{most} at once");
        prop_assert!(when_calm.is_some(), "nobody acts after the storm");
        prop_assert_eq!(when_calm, at_the_end, "whoever leads goes on while nothing goes wrong");
    }
}

#[test]
fn the_model_tells_a_wrong_election_from_a_right_one() {
    let too_long = LeaseTiming { act: Duration::from_secs(18), ..LeaseTiming::STANDARD };
    let worst = (0..200).map(|seed| World::new(seed, 3, too_long).play().0).max();
    assert!(worst > Some(1), "a holder that acts longer than its lease lasts is never caught");
}
