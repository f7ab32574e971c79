//! The store: a projection of the ledger in Redis.
