//! What `slipway up` works with: the configuration with the command line over it, and the data folder.

use std::path::PathBuf;

use slipway_common::config::Config;

use super::error::UpError;
use crate::args::UpArgs;
use crate::data_dir;

/// Settings of one `slipway up`.
#[derive(Debug, Clone)]
pub(crate) struct UpSettings {
    /// All settings, the command line's taken over.
    pub(crate) config: Config,
    /// The data folder, absolute.
    pub(crate) data_dir: PathBuf,
}

impl UpSettings {
    /// Reads the settings: defaults, file, `variables`, command line.
    ///
    /// # Errors
    /// When they cannot be used, or there is nowhere to keep data.
    pub(crate) fn resolve(
        args: &UpArgs,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, UpError> {
        let mut config = Config::load(args.config.as_deref(), variables).map_err(UpError::Config)?;
        if let Some(listen) = args.listen {
            config.server.listen = listen;
        }
        let given = args
            .data_dir
            .clone()
            .or_else(|| Some(&config.data.dir).filter(|dir| !dir.is_empty()).map(PathBuf::from));
        let data_dir = given.or_else(data_dir::of_this_process).ok_or(UpError::NoDataDir)?;
        let data_dir = std::path::absolute(&data_dir).unwrap_or(data_dir);
        config.data.dir = data_dir.display().to_string();
        Ok(Self { config, data_dir })
    }

    /// A file in the data folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.data_dir.join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> UpArgs {
        UpArgs { config: None, data_dir: None, listen: None, check_config: false }
    }

    #[test]
    fn the_command_line_wins_over_variables_over_the_defaults() {
        let variables = || {
            [
                ("SLIPWAY__DATA__DIR".to_owned(), "/from/variable".to_owned()),
                ("SLIPWAY__SERVER__LISTEN".to_owned(), "127.0.0.1:1".to_owned()),
            ]
        };
        let settings = UpSettings::resolve(&args(), variables()).unwrap();
        assert_eq!(settings.data_dir, PathBuf::from("/from/variable"));
        assert_eq!(settings.config.server.listen.port(), 1);
        let over = UpArgs {
            data_dir: Some(PathBuf::from("/from/flag")),
            listen: Some(([127, 0, 0, 1], 2).into()),
            ..args()
        };
        let settings = UpSettings::resolve(&over, variables()).unwrap();
        assert_eq!(settings.data_dir, PathBuf::from("/from/flag"));
        assert_eq!(settings.config.data.dir, "/from/flag");
        assert_eq!(settings.config.server.listen.port(), 2);
    }

    #[test]
    fn a_setting_that_cannot_be_used_is_a_usage_error() {
        let variables = [("SLIPWAY__WORKER__SLOTS".to_owned(), "0".to_owned())];
        let error = UpSettings::resolve(&args(), variables).unwrap_err();
        assert_eq!(error.exit(), crate::exit::Exit::Usage);
    }
}
