//! How a member that the cluster was told of is started.
//!
//! Owns the command line and the variables to paste. It must not talk to servers.

use handfast_core::proto::etcdserverpb::Member;
use handfast_server::config::Url;
use serde_json::{Value, json};

use crate::exit::Failure;
use crate::output::Output;

/// Everything the new member has to be told.
pub(crate) struct HowTo {
    name: String,
    peer_urls: Vec<Url>,
    /// `name=url` of all members.
    initial_cluster: String,
}

impl HowTo {
    /// For the member `id` of `members`, to be called `name`.
    pub(crate) fn new(name: &str, id: u64, peer_urls: &[Url], members: &[Member]) -> HowTo {
        let entries = members.iter().flat_map(|member| {
            let label = match member.name.as_str() {
                _ if member.id == id => name.to_owned(),
                // Only the member's own name has to be right, and must not be another's: of the
                // others only the addresses count.
                other if other.is_empty() || other == name => format!("{:x}", member.id),
                started => started.to_owned(),
            };
            let entry = move |url: &String| format!("{label}={url}");
            member.peer_ur_ls.iter().map(entry).collect::<Vec<_>>()
        });
        HowTo {
            name: name.to_owned(),
            peer_urls: peer_urls.to_vec(),
            initial_cluster: entries.collect::<Vec<_>>().join(","),
        }
    }

    fn advertised(&self) -> String {
        let texts: Vec<String> = self.peer_urls.iter().map(Url::to_string).collect();
        texts.join(",")
    }

    fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("ETCD_NAME", self.name.clone()),
            ("ETCD_INITIAL_CLUSTER", self.initial_cluster.clone()),
            ("ETCD_INITIAL_ADVERTISE_PEER_URLS", self.advertised()),
            ("ETCD_INITIAL_CLUSTER_STATE", "existing".to_owned()),
        ]
    }

    /// The command, flag by flag with its value.
    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            "handfast serve".to_owned(),
            format!("--name {}", quoted(&self.name)),
            format!("--data-dir {}", quoted(&format!("{}.data", self.name))),
        ];
        let listening = self.peer_urls.iter().map(listening).collect::<Vec<_>>();
        if let Some(first) = listening.first() {
            // The usual neighbours: 2379 for clients, 2380 for members.
            let port = first.port().saturating_sub(1);
            arguments.push(format!("--listen {}", first.with_port(port)));
        }
        let listening: Vec<String> = listening.iter().map(Url::to_string).collect();
        arguments.push(format!("--listen-peer-urls {}", listening.join(",")));
        let advertised = self.advertised();
        if listening.join(",") != advertised {
            arguments.push(format!("--initial-advertise-peer-urls {advertised}"));
        }
        arguments.push(format!(
            "--initial-cluster {}",
            quoted(&self.initial_cluster)
        ));
        arguments.push("--initial-cluster-state existing".to_owned());
        arguments
    }

    pub(crate) fn json(&self) -> Value {
        let environment = self.environment().into_iter();
        let environment: serde_json::Map<String, Value> = environment
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect();
        json!({ "command": self.arguments().join(" "), "environment": environment })
    }

    pub(crate) fn print(&self, output: &mut Output) -> Result<(), Failure> {
        output.line("")?;
        output.line(format!("  {}", self.arguments().join(" \\\n    ")))?;
        output.line("\nor with these variables, which etcd understands, too:\n")?;
        for (name, value) in self.environment() {
            output.line(format!("{name}=\"{value}\""))?;
        }
        Ok(())
    }
}

/// What a machine reached at `url` listens on: a name stands for no certain address of it.
fn listening(url: &Url) -> Url {
    match url.socket_addr() {
        Some(_) => url.clone(),
        None => Url::tcp("0.0.0.0", url.port()),
    }
}

/// As a shell reads it in one word.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+[]".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, name: &str, url: &str) -> Member {
        Member {
            id,
            name: name.to_owned(),
            peer_ur_ls: vec![url.to_owned()],
            ..Member::default()
        }
    }

    #[test]
    fn the_command_names_every_member() {
        let members = [
            member(1, "n1", "http://10.0.0.1:2380"),
            member(2, "", "http://10.0.0.2:2380"),
            member(0xab, "n2", "http://10.0.0.3:2380"),
        ];
        let urls = ["http://10.0.0.2:2380".parse().unwrap()];
        let command = HowTo::new("n2", 2, &urls, &members).arguments().join(" ");
        assert_eq!(
            command,
            "handfast serve --name n2 --data-dir n2.data --listen http://10.0.0.2:2379 \
             --listen-peer-urls http://10.0.0.2:2380 --initial-cluster \
             n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380,ab=http://10.0.0.3:2380 \
             --initial-cluster-state existing"
        );
    }

    #[test]
    fn a_host_name_is_advertised_but_not_listened_on() {
        let urls = ["http://n1.example.org:2380".parse().unwrap()];
        let members = [member(1, "", "http://n1.example.org:2380")];
        let command = HowTo::new("n 1", 1, &urls, &members).arguments().join(" ");
        for part in [
            "--name 'n 1' ",
            "--listen http://0.0.0.0:2379 ",
            "--listen-peer-urls http://0.0.0.0:2380 ",
            "--initial-advertise-peer-urls http://n1.example.org:2380 ",
        ] {
            assert!(command.contains(part), "{part}: {command}");
        }
    }

    #[test]
    fn words_are_quoted_as_shells_want_it() {
        assert_eq!(quoted("a-b.data"), "a-b.data");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
