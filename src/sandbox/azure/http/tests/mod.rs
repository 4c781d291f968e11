//! As a client sees it.
