//! The queue: jobs on quorum queues, with an index in Redis beside them.
