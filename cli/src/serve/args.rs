//! The flags of `handfast serve`, made from the server's own list of settings.
//!
//! Owns how settings look on a command line. It must not know what they mean.

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command};
use handfast_server::config::{Group, Kind, Setting, setting, settings};

const CONFIG_FILE: &str = "config-file";

const AFTER_HELP: &str = "\
Every flag can be given as a variable, ETCD_DATA_DIR or HANDFAST_DATA_DIR for --data-dir, but not
both ways at once. A configuration file replaces flags and variables. Flags of etcd work, too.";

/// The `serve` command.
pub(crate) fn command() -> Command {
    let file = Arg::new(CONFIG_FILE)
        .long(CONFIG_FILE)
        .value_name("FILE")
        .help("TOML file with the names of flags as keys; replaces flags and variables")
        .help_heading(Group::Basics.title());
    let command = Command::new("serve")
        .about("Run a server")
        .long_about(
            "Run a server. Without flags: on 127.0.0.1:2379, with its data in ./handfast.data.",
        )
        .after_help(AFTER_HELP)
        .arg(file)
        .args(["endpoints", "timeout", "json"].map(not_here));
    settings().fold(command, |command, setting| command.arg(argument(setting)))
}

/// The options of client commands are global, but mean nothing to a server.
fn not_here(name: &'static str) -> Arg {
    let refuse = |_: &str| Err::<String, _>("only client commands take this");
    Arg::new(name)
        .long(name)
        .hide(true)
        .num_args(0..=1)
        .default_missing_value("")
        .value_parser(refuse)
}

fn argument(setting: &'static Setting) -> Arg {
    let default = match setting.default {
        "" => String::new(),
        default => format!(" [default: {default}]"),
    };
    let argument = Arg::new(setting.name)
        .long(setting.name)
        .value_name(setting.kind.placeholder())
        .help(format!("{}{default}", setting.help))
        .help_heading(setting.group.title())
        .hide_short_help(setting.group > Group::Member)
        // Repeating a flag is a correction; which one counts is decided by the configuration.
        .action(ArgAction::Append);
    match setting.kind {
        Kind::Switch => argument
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        Kind::Number => argument.allow_negative_numbers(true),
        _ => argument,
    }
}

/// The flags that were given, in the form the configuration reads.
pub(super) fn given(matches: &ArgMatches) -> Vec<(String, String)> {
    settings()
        .map(|setting| setting.name)
        .chain([CONFIG_FILE])
        .flat_map(|name| {
            let values = matches.get_many::<String>(name).into_iter().flatten();
            values.map(move |value| (name.to_owned(), value.clone()))
        })
        .collect()
}

/// etcd takes `-name n1` too; programs that start us under its name may write it.
pub(crate) fn accept_single_dashes(args: Vec<OsString>) -> Vec<OsString> {
    args.into_iter()
        .map(|arg| double_dashed(&arg).map_or(arg, OsString::from))
        .collect()
}

fn double_dashed(arg: &OsString) -> Option<String> {
    let bare = arg.to_str()?.strip_prefix('-')?;
    let name = bare.split('=').next()?;
    (name == CONFIG_FILE || setting(name).is_some()).then(|| format!("--{bare}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(args: &[&str]) -> Vec<(String, String)> {
        given(
            &command()
                .try_get_matches_from([&["serve"], args].concat())
                .unwrap(),
        )
    }

    #[test]
    fn command_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn switches_take_a_value_only_with_an_equals_sign() {
        assert_eq!(
            flags(&["--ephemeral"]),
            [("ephemeral".into(), "true".into())]
        );
        assert_eq!(
            flags(&["--pre-vote=false"]),
            [("pre-vote".into(), "false".into())]
        );
    }

    #[test]
    fn negative_numbers_are_values() {
        let expected = [("quota-backend-bytes".into(), "-1".into())];
        assert_eq!(flags(&["--quota-backend-bytes", "-1"]), expected);
    }

    #[test]
    fn single_dashes_become_double_ones_for_settings_only() {
        let args = ["-name", "-data-dir=x", "-h", "--listen", "-1"].map(OsString::from);
        let expected = ["--name", "--data-dir=x", "-h", "--listen", "-1"].map(OsString::from);
        assert_eq!(accept_single_dashes(args.to_vec()), expected);
    }

    #[test]
    fn long_help_lists_every_setting() {
        let help = command().render_long_help().to_string();
        for setting in settings() {
            assert!(
                help.contains(&format!("--{}", setting.name)),
                "--{}",
                setting.name
            );
        }
    }
}
