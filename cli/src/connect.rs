//! How a client command finds its server.
//!
//! Owns the options every client command has and the variables that stand in for them. It must
//! not know what is asked of the server.

use std::time::Duration;

use clap::Args;
use handfast::{Handfast, HandfastBuilder};
use handfast_core::Client;

use crate::exit::Failure;

const DEFAULT_ENDPOINT: &str = "127.0.0.1:2379";
/// Servers count whole seconds.
const SHORTEST_TTL: Duration = Duration::from_secs(1);

/// Options of every client command.
#[derive(Args, Debug, Clone)]
pub(crate) struct Connection {
    /// Servers to talk to, with commas between [default: 127.0.0.1:2379; variables:
    /// HANDFAST_ENDPOINTS, ETCDCTL_ENDPOINTS]
    #[arg(long, global = true, value_delimiter = ',', value_name = "URLS")]
    #[arg(help_heading = "Connection", display_order = 900)]
    endpoints: Vec<String>,

    /// How long a call may take, such as 500ms, 5s or 1m [default: 5s]
    #[arg(long, global = true, value_name = "TIME", value_parser = duration)]
    #[arg(
        help_heading = "Connection",
        display_order = 901,
        alias = "command-timeout"
    )]
    timeout: Option<Duration>,

    /// Print JSON, one document a line
    #[arg(long, global = true, help_heading = "Connection", display_order = 902)]
    pub(crate) json: bool,
}

impl Connection {
    /// A client of the chosen servers; connects at the first call.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        self.client_of(self.endpoints())
    }

    /// A client of these servers instead of the chosen ones.
    pub(crate) fn client_of(&self, endpoints: Vec<String>) -> Result<Client, Failure> {
        let mut builder = Client::builder().endpoints(endpoints);
        if let Some(timeout) = self.timeout()? {
            builder = builder.timeout(timeout);
        }
        builder
            .build()
            .map_err(|error| Failure::Usage(error.to_string()))
    }

    /// The recipes on the chosen servers, with more settings; connects when first used.
    pub(crate) fn handfast(
        &self,
        settings: impl FnOnce(HandfastBuilder) -> HandfastBuilder,
    ) -> Result<Handfast, Failure> {
        let mut builder = Handfast::builder().endpoints(self.endpoints());
        if let Some(timeout) = self.timeout()? {
            builder = builder
                .request_timeout(timeout)
                .session(|session| session.connect_timeout(Some(timeout)));
        }
        settings(builder)
            .build()
            .map_err(|error| Failure::Usage(error.to_string()))
    }

    /// The recipes for what others shall know who did it.
    pub(crate) fn personally(&self) -> Result<Handfast, Failure> {
        self.handfast(
            |builder| match variable("USER").or_else(|| variable("LOGNAME")) {
                Some(user) => builder.app_name(format!("{user} with handfast")),
                None => builder,
            },
        )
    }

    /// The chosen servers as they were written.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        if !self.endpoints.is_empty() {
            return self.endpoints.clone();
        }
        let given = variable("HANDFAST_ENDPOINTS").or_else(|| variable("ETCDCTL_ENDPOINTS"));
        let given = given.unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
        given
            .split(',')
            .map(|endpoint| endpoint.trim().to_owned())
            .collect()
    }

    /// Whether anybody said which servers to talk to.
    pub(crate) fn is_named(&self) -> bool {
        let named = ["HANDFAST_ENDPOINTS", "ETCDCTL_ENDPOINTS"];
        !self.endpoints.is_empty() || named.into_iter().any(|name| variable(name).is_some())
    }

    fn timeout(&self) -> Result<Option<Duration>, Failure> {
        if self.timeout.is_some() {
            return Ok(self.timeout);
        }
        let name = "ETCDCTL_COMMAND_TIMEOUT";
        variable(name)
            .map(|text| duration(&text).map_err(|e| Failure::Usage(format!("{name}: {e}"))))
            .transpose()
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// `500ms`, `5s`, `1m`; a bare number is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => handfast_server::config::parse_duration(text),
    }
}

/// How long to wait for something that has to be asked for.
pub(crate) fn wait(text: &str) -> Result<Duration, String> {
    let wait = duration(text)?;
    match wait.is_zero() {
        false => Ok(wait),
        true => Err("that is no time to ask a server in; write 1s, or --try for a lock".to_owned()),
    }
}

/// A duration that the servers accept as a time to live.
pub(crate) fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = duration(text)?;
    match ttl >= SHORTEST_TTL {
        true => Ok(ttl),
        false => Err(format!("{text} is too short: at least 1s")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_numbers_are_seconds() {
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert!(duration("soon").is_err());
        assert_eq!(ttl("1s"), Ok(Duration::from_secs(1)));
        assert!(ttl("0").is_err() && ttl("900ms").is_err());
        assert_eq!(wait("1ms"), Ok(Duration::from_millis(1)));
        assert!(wait("0s").is_err());
    }
}
