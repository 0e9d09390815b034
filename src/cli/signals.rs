//! Ctrl-C and friends as messages.

use crossbeam_channel::{Receiver, Sender, unbounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::exit::Failure;
use crate::drive::Control;

/// Listens from here on: an interrupt is a message. A terminal that goes away leaves runs alone.
pub fn listen() -> Result<Receiver<Control>, Failure> {
    channel().map(|(_, receive)| receive)
}

/// As [`listen`], with a way to send more.
pub fn channel() -> Result<(Sender<Control>, Receiver<Control>), Failure> {
    let (send, receive) = unbounded();
    let more = send.clone();
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            let control = if signal == SIGHUP { Control::Leave } else { Control::Interrupt };
            if send.send(control).is_err() {
                return;
            }
        }
    })?;
    Ok((more, receive))
}
