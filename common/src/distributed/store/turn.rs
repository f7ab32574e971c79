//! The projector's turn: one process at a time continues the projection, or begins a new one.

use std::time::Duration;

use jiff::Timestamp;
use redis::Value;

use super::scripts::{FINISH, PROJECT, RESIGN};
use super::{RedisStore, codec};
use crate::store::StoreError;

/// Where the projection stands, for the one whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Name of this projection; another one is begun under another name.
    pub(crate) epoch: String,
    /// Last offset of the ledger in it.
    pub(crate) projected: u64,
    /// Whether it is complete.
    pub(crate) ready: bool,
    /// Whether it was begun just now.
    pub(crate) begun: bool,
}

impl RedisStore {
    /// Takes or keeps the turn for `lifetime`; `None` when it is another's. Begins a new projection, called `fresh`,
    /// when there is none that is whole.
    ///
    /// # Errors
    /// When Redis cannot be used.
    pub(crate) async fn turn(
        &self,
        holder: &str,
        lifetime: Duration,
        fresh: &str,
    ) -> Result<Option<Turn>, StoreError> {
        let args = (holder, codec::lifetime_ms(lifetime, Duration::ZERO), fresh);
        let answer: Vec<Value> = self.redis.ask(&PROJECT, &[self.redis.key("")], args).await?;
        if answer.len() < 5 {
            return Ok(None);
        }
        let (_, epoch, projected, ready, begun): (String, String, u64, bool, bool) =
            redis::from_redis_value(Value::Array(answer))
                .map_err(|error| codec::unreadable("turn", error))?;
        Ok(Some(Turn { epoch, projected, ready, begun }))
    }

    /// Gives the turn up.
    pub(crate) async fn resign(&self, holder: &str) {
        // It ends by itself a little later.
        drop(self.redis.script(&RESIGN, &[self.redis.key("")], holder).await);
    }

    /// The projection called `epoch` is complete up to `projected`; `false` when it is another one by now. Every
    /// registered project is looked at then.
    ///
    /// # Errors
    /// When Redis cannot be used.
    pub(crate) async fn finish(&self, epoch: &str, projected: u64) -> Result<bool, StoreError> {
        let args = (epoch, projected, codec::micros(Timestamp::now()));
        Ok(self.redis.ask(&FINISH, &[self.redis.key("")], args).await?)
    }

    /// Declares the projection void, so that the projector makes it anew.
    ///
    /// # Errors
    /// When Redis cannot be used.
    pub(crate) async fn discard(&self) -> Result<(), StoreError> {
        Ok(self.declare_void(0).await?)
    }
}
