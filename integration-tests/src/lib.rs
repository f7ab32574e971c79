//! The harness: real services as private processes, and the oracles that watch their effects.

pub mod api_faults;
pub mod bench;
pub mod chaos;
pub mod control_plane;
pub mod distributed;
pub mod docker_engine;
pub mod effects;
pub mod git_server;
pub mod gitlab;
pub mod ground;
pub mod line;
pub mod pace;
pub mod process_control;
pub mod programs;
pub mod rabbitmq;
pub mod redis_server;
pub mod registry;
pub mod rig;
pub mod slipway_process;
