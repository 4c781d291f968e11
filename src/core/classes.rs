//! Things that are alike, by a key; the classes in the order of their first members.

use std::hash::Hash;

use super::quick_hash::HashMap;

pub(super) struct Classes<K> {
    pub(super) keys: Vec<K>,
    /// Where the members of each class stand among all things.
    pub(super) members: Vec<Vec<usize>>,
}

impl<K: Copy + Eq + Hash> Classes<K> {
    pub(super) fn of(keys: impl IntoIterator<Item = K>) -> Self {
        let mut index: HashMap<K, usize> = HashMap::default();
        let mut classes = Self { keys: Vec::new(), members: Vec::new() };
        for (position, key) in keys.into_iter().enumerate() {
            let class = *index.entry(key).or_insert_with(|| {
                classes.keys.push(key);
                classes.members.push(Vec::new());
                classes.members.len() - 1
            });
            classes.members[class].push(position);
        }
        classes
    }

    pub(super) fn sort_by_key<O: Ord>(&mut self, order: impl Fn(&K) -> O) {
        let mut both: Vec<(K, Vec<usize>)> = self.keys.drain(..).zip(self.members.drain(..)).collect();
        both.sort_by_key(|(key, _)| order(key));
        (self.keys, self.members) = both.into_iter().unzip();
    }

    pub(super) fn sizes(&self) -> Vec<usize> {
        self.members.iter().map(Vec::len).collect()
    }
}
