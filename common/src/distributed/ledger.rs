//! The ledger: a stream at the broker.
