//! `slipway completion`

use clap::CommandFactory as _;

use crate::args::Cli;
use crate::exit::Exit;

/// Prints the script. A reader that has gone away is no error.
pub(crate) fn print(shell: clap_complete::Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "slipway", &mut script);
    let written = std::io::Write::write_all(&mut std::io::stdout().lock(), &script);
    drop(written);
    Exit::Done
}
