//! Precedence, ranges and messages of the configuration.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

mod peers;

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn owned(pairs: Pairs<'_>) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn resolve(flags: Pairs<'_>, env: Pairs<'_>) -> Result<Resolved, ConfigError> {
    Config::from_layers(owned(flags), owned(env))
}

fn resolve_file(flags: Pairs<'_>, text: &str) -> Result<Resolved, ConfigError> {
    let mut flags = owned(flags);
    flags.push(("config-file".to_owned(), "x.toml".to_owned()));
    Layers::new(flags, []).resolve_with(|_| Ok(text.to_owned()))
}

fn resolve_with_token(flags: Pairs<'_>, token: &str) -> Result<Resolved, ConfigError> {
    Layers::new(owned(flags), []).resolve_with(|path| match path.to_str() {
        Some("token.txt") => Ok(token.to_owned()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    })
}

fn message(result: Result<Resolved, ConfigError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn nothing_given_is_the_default() {
    let resolved = resolve(&[], &[]).unwrap();
    assert_eq!(resolved.config, Config::default());
    assert_eq!(resolved.notes, Vec::<String>::new());
}

#[test]
fn every_default_in_the_table_is_the_default_of_the_struct() {
    for setting in settings() {
        let Effect::Active(set) = setting.effect else {
            continue;
        };
        let described = matches!(
            setting.default,
            "" | "as listened on"
                | "this member"
                | "in the data folder"
                | "as in --initial-cluster, or as listened on"
        );
        if described {
            continue;
        }
        let mut config = Config::default();
        set(&mut config, setting.default).unwrap();
        assert_eq!(config, Config::default(), "--{}", setting.name);
    }
}

#[test]
fn names_are_unique_and_helped() {
    let mut names: Vec<&str> = settings().map(|setting| setting.name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(settings().all(|setting| !setting.help.is_empty()));
}

#[test]
fn flags_and_variables_are_read() {
    let env = [
        ("ETCD_NAME", "n1"),
        ("HANDFAST_HEARTBEAT_INTERVAL", "50"),
        ("HOME", "/root"),
    ];
    let resolved = resolve(&[("election-timeout", "500")], &env).unwrap();
    assert_eq!(resolved.config.name, "n1");
    assert_eq!(
        resolved.config.heartbeat_interval,
        Duration::from_millis(50)
    );
    assert_eq!(resolved.config.election_timeout, Duration::from_millis(500));
}

#[test]
fn flag_and_variable_for_one_setting_conflict() {
    let text = message(resolve(&[("name", "a")], &[("ETCD_NAME", "a")]));
    assert!(
        text.contains("--name") && text.contains("ETCD_NAME"),
        "{text}"
    );
}

#[test]
fn two_spellings_of_a_variable_must_agree() {
    let agreeing = [("ETCD_NAME", "a"), ("HANDFAST_NAME", "a")];
    assert_eq!(resolve(&[], &agreeing).unwrap().config.name, "a");
    let text = message(resolve(&[], &[("ETCD_NAME", "a"), ("HANDFAST_NAME", "b")]));
    assert!(
        text.contains("ETCD_NAME") && text.contains("HANDFAST_NAME"),
        "{text}"
    );
}

#[test]
fn unknown_flag_is_refused_and_unknown_variable_is_noted() {
    let text = message(resolve(&[("data-dri", "x")], &[]));
    assert!(text.contains("did you mean `data-dir`?"), "{text}");
    let resolved = resolve(&[], &[("ETCD_NO_SUCH_THING", "1")]).unwrap();
    assert_eq!(resolved.notes.len(), 1);
    assert!(resolved.notes[0].contains("ETCD_NO_SUCH_THING"));
}

#[test]
fn variables_of_clients_are_not_settings() {
    let env = [("HANDFAST_ENDPOINTS", "http://x:1"), ("ETCD_LOCK_KEY", "k")];
    assert_eq!(resolve(&[], &env).unwrap().notes, Vec::<String>::new());
}

#[test]
fn file_replaces_flags_and_variables() {
    let resolved = resolve_file(&[("name", "flag")], "data-dir = \"d\"\n").unwrap();
    assert_eq!(resolved.config.name, "default");
    assert_eq!(resolved.config.data_dir, PathBuf::from("d"));
    assert!(
        resolved.notes[0].contains("x.toml replaces"),
        "{:?}",
        resolved.notes
    );
}

#[test]
fn file_takes_numbers_switches_lists_and_nested_tables() {
    let text = "max-txn-ops = 256\nunsafe-no-fsync = true\n\
                listen-client-urls = [\"http://127.0.0.1:1\", \"http://127.0.0.1:2\"]\n\
                advertise-client-urls = \"http://h:1\"\n\
                [peer-transport-security]\nauto-tls = false\n";
    let config = resolve_file(&[], text).unwrap().config;
    assert_eq!(config.max_txn_ops, 256);
    assert!(!config.sync);
    assert_eq!(config.listen_client_urls.len(), 2);
}

#[test]
fn file_errors_name_file_and_key() {
    let text = message(resolve_file(&[], "nmae = \"x\"\n"));
    assert!(
        text.contains("x.toml") && text.contains("did you mean `name`?"),
        "{text}"
    );
    let text = message(resolve_file(&[], "max-txn-ops = \"many\"\n"));
    assert!(text.contains("x.toml: max-txn-ops"), "{text}");
    let text = message(resolve_file(&[], "name: x\n"));
    assert!(text.contains("not valid TOML"), "{text}");
    let gone = Layers::new(owned(&[("config-file", "gone.toml")]), []);
    let gone = gone.resolve_with(|_| Err(io::Error::from(io::ErrorKind::NotFound)));
    assert!(message(gone).contains("gone.toml"));
}

#[test]
fn explicit_listen_urls_need_advertised_ones() {
    let flags = [("listen-client-urls", "http://127.0.0.1:9")];
    assert_eq!(
        message(resolve(&flags, &[])),
        "--advertise-client-urls is required when --listen-client-urls is set explicitly"
    );
}

#[test]
fn listen_takes_short_forms() {
    let listen = |text: &str| {
        resolve(&[("listen", text)], &[]).map(|r| r.config.listen_client_urls[0].to_string())
    };
    assert_eq!(listen("4001").unwrap(), "http://127.0.0.1:4001");
    assert_eq!(listen(":4001").unwrap(), "http://0.0.0.0:4001");
    assert_eq!(listen("[::1]:4001").unwrap(), "http://[::1]:4001");
    assert_eq!(listen("unix:///tmp/x").unwrap(), "unix:///tmp/x");
    assert!(message_of(listen("example.org:1")).contains("IP address"));
    assert!(message_of(listen("https://127.0.0.1:1")).contains("TLS"));
    assert!(message_of(listen("127.0.0.1")).contains("lacks a port"));
}

fn message_of(result: Result<String, ConfigError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn wildcard_is_never_advertised_and_is_warned_about() {
    let resolved = resolve(&[("listen", ":4001")], &[]).unwrap();
    let advertised = &resolved.config.advertise_client_urls[0];
    assert!(!advertised.is_unspecified());
    assert_eq!(advertised.port(), 4001);
    assert!(resolved.config.warnings()[0].contains("no passwords"));
}

#[test]
fn ranges_are_checked() {
    let refused: [(&str, &str); 9] = [
        ("heartbeat-interval", "0"),
        ("heartbeat-interval", "300"),
        ("election-timeout", "50001"),
        ("election-timeout", "-1"),
        ("max-request-bytes", "0"),
        ("max-txn-ops", "0"),
        ("initial-cluster-state", "old"),
        ("max-learners", "0"),
        ("quota-backend-bytes", "lots"),
    ];
    for (name, value) in refused {
        let text = message(resolve(&[(name, value)], &[]));
        assert!(
            text.contains(&format!("--{name}")),
            "{name}={value}: {text}"
        );
    }
}

#[test]
fn settings_without_effect_are_noted_and_still_checked() {
    let resolved = resolve(&[("max-wals", "5")], &[]).unwrap();
    assert!(resolved.notes[0].contains("--max-wals has no effect"));
    assert!(message(resolve(&[("max-wals", "many")], &[])).contains("--max-wals"));
}

#[test]
fn asking_for_tls_is_refused_and_declining_it_is_not() {
    assert!(message(resolve(&[("cert-file", "a.pem")], &[])).contains("TLS"));
    assert!(resolve(&[("client-cert-auth", "false"), ("cert-file", "")], &[]).is_ok());
}

#[test]
fn the_name_etcd_brings_etcds_data_folder() {
    let layers = Layers::new(owned(&[("name", "n1")]), []).preset(Preset::Etcd);
    assert_eq!(
        layers.resolve().unwrap().config.data_dir,
        Path::new("n1.etcd")
    );
}

#[test]
fn ephemeral_and_a_data_folder_exclude_each_other() {
    let flags = [("ephemeral", "true"), ("data-dir", "d")];
    assert!(message(resolve(&flags, &[])).contains("--data-dir"));
}

#[test]
fn durations_are_gos() {
    assert_eq!(
        values::duration("1h30m").unwrap(),
        Duration::from_secs(5400)
    );
    assert_eq!(
        values::duration("1.5s").unwrap(),
        Duration::from_millis(1500)
    );
    assert_eq!(values::duration("0").unwrap(), Duration::ZERO);
    for wrong in ["", "5", "s", "5 s", "-1s", "5x", "1..2s"] {
        assert!(values::duration(wrong).is_err(), "{wrong}");
    }
}
