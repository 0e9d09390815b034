//! The binary: arguments in, exit code out. Everything else is the library's.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    // The supervisor forks: it starts before anything else can start a thread, and needs nothing of the command line's machinery.
    if let (Some(word), Some(state_dir), None) = (args.next(), args.next(), args.next())
        && word == "supervise"
    {
        let ended = oppen::backend::local::supervise(state_dir.as_ref());
        return ended.map_or_else(
            |error| {
                eprintln!("supervise: {error}");
                ExitCode::FAILURE
            },
            |()| ExitCode::SUCCESS,
        );
    }
    oppen::cli::run()
}
