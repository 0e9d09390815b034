//! Ctrl-C and friends as messages.

use crossbeam_channel::{Receiver, unbounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::exit::Failure;
use crate::drive::Control;

/// Listens from here on: an interrupt is a message. A terminal that goes away leaves runs alone.
pub fn listen() -> Result<Receiver<Control>, Failure> {
    let (send, receive) = unbounded();
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            let control = if signal == SIGHUP { Control::Leave } else { Control::Interrupt };
            if send.send(control).is_err() {
                return;
            }
        }
    })?;
    Ok(receive)
}
