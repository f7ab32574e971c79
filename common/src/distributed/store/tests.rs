//! Tests of the store: the laws of the contract on a private Redis, and what the laws do not say.

mod autoscaler;
mod faults;
pub(in crate::distributed) mod fixture;
mod order;
mod projects;

use fixture::Installation;

crate::contract_suite!(@store Installation::make);
crate::contract_suite!(@autoscaler Installation::make);
crate::contract_suite!(@projects Installation::make);
crate::contract_suite!(@agenda Installation::make);
