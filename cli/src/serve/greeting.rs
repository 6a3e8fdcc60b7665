//! The lines a person sees when the server is up.
//!
//! Owns their wording. Programs read the log instead.

use std::io::Write;

use handfast_server::Server;
use handfast_server::config::Config;

use crate::member::howto::quoted;

/// Where a client looks when it is told nothing.
const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:2379";

pub(super) fn print(config: &Config, server: &Server) {
    // A closed standard output is no reason to stop serving.
    let _ = std::io::stdout().write_all(text(config, server).as_bytes());
}

fn text(config: &Config, server: &Server) -> String {
    let urls = server.client_urls().join(", ");
    let data = std::path::absolute(server.data_dir());
    let data = data.unwrap_or_else(|_| server.data_dir().to_owned());
    let data = data.display();
    let kept = if config.ephemeral {
        " (removed at the end)"
    } else {
        ""
    };
    let endpoint = server.endpoint();
    let option = match endpoint == DEFAULT_ENDPOINT {
        true => String::new(),
        false => format!(" --endpoints {endpoint}"),
    };
    let join = join(config, server);
    format!(
        "\nhandfast {} is ready.\n  \
           clients connect to   {urls}\n  \
           data is kept in      {data}{kept}\n\
           {join}  \
           try in another shell handfast{option} put greeting hello\n                       \
                                handfast{option} get greeting\n                       \
                                handfast{option} lock jobs/nightly -- sleep 5\n  \
           stop with            Ctrl-C\n\n",
        env!("CARGO_PKG_VERSION"),
    )
}

/// How another member is added, when this one can be reached by others.
fn join(config: &Config, server: &Server) -> String {
    let asked = config.listen_peer_urls_explicit || config.has_others();
    let told = config.initial_advertise_peer_urls.first();
    let (true, Some(told), Some(bound)) = (asked, told, server.peer_urls().first()) else {
        return String::new();
    };
    // A port that the system chose is only known to the listener.
    let port = match told.port() {
        0 => bound.rsplit(':').next().unwrap_or_default().to_owned(),
        port => port.to_string(),
    };
    let host = match told.host() {
        host if host.contains(':') => format!("[{host}]"),
        host => host.to_owned(),
    };
    let data = quoted(&server.data_dir().display().to_string());
    let indent = " ".repeat(23);
    [
        format!("  another member       handfast serve --join {host}:{port} --join-token TOKEN\n"),
        format!("{indent}where TOKEN is what this prints here:\n"),
        format!("{indent}handfast cluster token --data-dir {data}\n"),
    ]
    .concat()
}
