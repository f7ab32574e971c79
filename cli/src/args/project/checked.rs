//! Flags that only make sense together: looked at once each of them is read, so that what is wrong is wrong
//! usage like everything else on a command line.

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches};

/// Arguments that can be wrong as a whole.
pub(crate) trait Check: Args {
    /// Looks at them.
    ///
    /// # Errors
    /// What is wrong, in words for the user.
    fn check(&self) -> Result<(), Error>;
}

/// Arguments that were looked at as a whole.
#[derive(Debug)]
pub(crate) struct Checked<T>(pub(crate) T);

impl<T: Check> FromArgMatches for Checked<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let arguments = T::from_arg_matches(matches)?;
        arguments.check()?;
        Ok(Self(arguments))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)?;
        self.0.check()
    }
}

impl<T: Check> Args for Checked<T> {
    fn augment_args(command: Command) -> Command {
        T::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        T::augment_args_for_update(command)
    }
}

/// A usage error. The command line it belongs to is told when it is shown.
pub(super) fn wrong(kind: ErrorKind, words: &str) -> Error {
    Error::raw(kind, words)
}
