//! What becomes of the bytes of a good answer while they come in. Each kind keeps a bounded number of them.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

/// The most bytes of an answer that is read as a whole.
const LONGEST_WHOLE: usize = 4 * 1024 * 1024;

/// The most bytes of an answer that nobody reads. It is taken in so that the connection can be used again.
const LONGEST_IGNORED: usize = 1024 * 1024;

/// What is kept of an answer that nobody reads: enough to see a sign-in page.
const BEGINNING: usize = 256;

/// Why an answer cannot be used.
#[derive(Debug)]
pub(super) enum Unusable {
    /// Only its beginning came.
    Incomplete(String),
    /// It is not what was asked for.
    Unreadable(String),
}

/// What is longer than it may be, and how long that is.
pub(super) struct TooLong(pub(super) &'static str, pub(super) usize);

impl From<TooLong> for Unusable {
    fn from(TooLong(what, most): TooLong) -> Self {
        Self::Unreadable(format!("{what} of more than {} KiB", most / 1024))
    }
}

impl From<serde_json::Error> for Unusable {
    fn from(error: serde_json::Error) -> Self {
        if error.is_eof() { Self::Incomplete(error.to_string()) } else { Self::Unreadable(error.to_string()) }
    }
}

/// Takes in one answer.
pub(super) trait Intake {
    /// What the answer says.
    type Content;

    /// The next bytes.
    fn take(&mut self, bytes: &[u8]) -> Result<(), Unusable>;

    /// What is kept of the bytes: enough to tell a page from JSON.
    fn kept(&self) -> &[u8];

    /// At the end of the answer.
    fn content(self) -> Result<Self::Content, Unusable>;
}

/// An answer that is read at its end.
pub(super) struct Whole<T> {
    bytes: Vec<u8>,
    of: PhantomData<T>,
}

impl<T> Default for Whole<T> {
    fn default() -> Self {
        Self { bytes: Vec::new(), of: PhantomData }
    }
}

impl<T: DeserializeOwned> Intake for Whole<T> {
    type Content = T;

    fn take(&mut self, bytes: &[u8]) -> Result<(), Unusable> {
        if self.bytes.len() + bytes.len() > LONGEST_WHOLE {
            return Err(TooLong("an answer", LONGEST_WHOLE).into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn kept(&self) -> &[u8] {
        &self.bytes
    }

    fn content(self) -> Result<T, Unusable> {
        Ok(serde_json::from_slice(&self.bytes)?)
    }
}

/// An answer of which only that it came matters.
#[derive(Default)]
pub(super) struct Ignored {
    beginning: Vec<u8>,
    taken: usize,
}

impl Intake for Ignored {
    type Content = ();

    fn take(&mut self, bytes: &[u8]) -> Result<(), Unusable> {
        self.taken += bytes.len();
        if self.taken > LONGEST_IGNORED {
            return Err(TooLong("an answer", LONGEST_IGNORED).into());
        }
        let room = BEGINNING.saturating_sub(self.beginning.len());
        self.beginning.extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(())
    }

    fn kept(&self) -> &[u8] {
        &self.beginning
    }

    fn content(self) -> Result<(), Unusable> {
        Ok(())
    }
}
