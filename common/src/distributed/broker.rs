//! The connection to RabbitMQ: supervised, with own deadlines, confirms and subscriptions.
