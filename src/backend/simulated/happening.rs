//! What will happen in a world, and how a trace shows it.

use super::cluster::Later;
use crate::engine::{Command, Engine, Observation};

/// Something that will happen.
#[derive(Debug, Clone)]
pub enum Happening {
    Deliver(Box<Observation>),
    Arrive(Box<Command>),
    Later(Later),
    Person,
    ApiAway(i64),
    ApiBack,
    /// An overtaken driver wakes up and tries to write.
    Zombie(Box<Engine>),
}

/// One line of a trace.
pub fn shown(what: &Happening) -> String {
    let text = match what {
        Happening::Zombie(_) => "an overtaken driver wakes up".to_owned(),
        Happening::Arrive(command) => match &**command {
            Command::Submit(launch) => format!("submit {}", launch.attempt),
            other => format!("{other:?}"),
        },
        other => format!("{other:?}"),
    };
    text.chars().take(200).collect()
}
