//! The groups at chosen moments.
