//! Answers that will hardly change, kept for a while so that they are not asked for at each poll. They do expire:
//! an administrator may mend what they say.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use tokio::time::Instant;

/// Values by name, each for a limited time.
#[derive(Debug)]
pub(super) struct Memory<V> {
    span: Duration,
    values: Mutex<HashMap<String, (Instant, V)>>,
}

impl<V: Clone> Memory<V> {
    pub(super) fn new(span: Duration) -> Self {
        Self { span, values: Mutex::default() }
    }

    pub(super) fn get(&self, name: &str) -> Option<V> {
        let values = self.values.lock().ok()?;
        values.get(name).filter(|(since, _)| since.elapsed() < self.span).map(|(_, value)| value.clone())
    }

    /// Remembers the value from now on. Tells whether this name is new.
    pub(super) fn keep(&self, name: &str, value: V) -> bool {
        let Ok(mut values) = self.values.lock() else { return false };
        values.insert(name.to_owned(), (Instant::now(), value)).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_value_is_remembered_for_its_span() {
        let memory = Memory::new(Duration::from_secs(60));
        assert!(memory.keep("a", 1));
        assert!(!memory.keep("a", 2));
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(memory.get("a"), Some(2));
        assert_eq!(memory.get("b"), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(memory.get("a"), None);
    }
}
