//! The projector: applies the ledger to the store, from where it stopped or from the beginning.
