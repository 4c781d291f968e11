//! Ages as kubectl shows them: coarse where it does not matter.

use std::time::Duration;

/// The age as kubectl prints it: `119s`, `5m32s`, `45m`, `7h5m`, `26h`, `5d3h`, `400d`, `3y`.
#[must_use]
pub fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let two = |large: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large}{unit}"),
        small => format!("{large}{unit}{small}{small_unit}"),
    };
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 {
        two(minutes, "m", seconds % 60, "s")
    } else if minutes < 180 {
        format!("{minutes}m")
    } else if hours < 8 {
        two(hours, "h", minutes % 60, "m")
    } else if hours < 48 {
        format!("{hours}h")
    } else if days < 8 {
        two(days, "d", hours % 24, "h")
    } else if days < 730 {
        format!("{days}d")
    } else {
        format!("{}y", days / 365)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_in_kubectl() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (332, "5m32s"),
            (45 * 60, "45m"),
            (7 * 3600 + 300, "7h5m"),
            (26 * 3600, "26h"),
            (5 * 86400 + 3 * 3600, "5d3h"),
            (400 * 86400, "400d"),
            (1100 * 86400, "3y"),
        ] {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
    }
}
