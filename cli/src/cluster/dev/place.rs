//! The folder of a cluster on this machine, and the command line of each member.
//!
//! Owns what is where: ports, folders, names. It must not start anything.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::exit::Failure;

/// What a folder remembers of the cluster in it.
const FILE: &str = "cluster-dev.json";

/// How many members there are, and where they listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) nodes: usize,
    pub(super) base_port: u16,
    /// Tells this cluster from others that used the same ports.
    pub(super) token: String,
}

impl Layout {
    pub(super) fn name(index: usize) -> String {
        format!("m{}", index + 1)
    }

    fn client_port(&self, index: usize) -> u16 {
        self.base_port + 2 * index as u16
    }

    /// Where clients reach a member, as they are told.
    pub(super) fn endpoint(&self, index: usize) -> String {
        format!("127.0.0.1:{}", self.client_port(index))
    }

    pub(super) fn endpoints(&self) -> String {
        let all = (0..self.nodes).map(|index| self.endpoint(index));
        all.collect::<Vec<_>>().join(",")
    }

    pub(super) fn peer_url(&self, index: usize) -> String {
        format!("http://127.0.0.1:{}", self.client_port(index) + 1)
    }

    fn initial_cluster(&self) -> String {
        let entry = |index| format!("{}={}", Layout::name(index), self.peer_url(index));
        (0..self.nodes).map(entry).collect::<Vec<_>>().join(",")
    }
}

/// The folder of all members.
pub(super) struct Place {
    folder: PathBuf,
    /// Removed when it is dropped.
    temporary: Option<TempDir>,
}

impl Place {
    /// The folder that was named, made if need be, or a temporary one.
    pub(super) fn open(named: Option<&Path>) -> Result<Place, Failure> {
        let cannot = |path: &Path, error| {
            Failure::Other(format!(
                "cannot make the folder {}: {error}",
                path.display()
            ))
        };
        let Some(path) = named else {
            let temporary = tempfile::Builder::new().prefix("handfast-dev-").tempdir();
            let temporary = temporary.map_err(|error| cannot(&std::env::temp_dir(), error))?;
            return Ok(Place {
                folder: temporary.path().to_owned(),
                temporary: Some(temporary),
            });
        };
        let path = std::path::absolute(path).map_err(|error| cannot(path, error))?;
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder
            .create(&path)
            .map_err(|error| cannot(&path, error))?;
        Ok(Place {
            folder: path,
            temporary: None,
        })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    pub(super) fn data_dir(&self, index: usize) -> PathBuf {
        self.folder.join(Layout::name(index))
    }

    /// Differs from folder to folder.
    pub(super) fn token(&self) -> String {
        format!("dev:{}", self.folder.display())
    }

    /// The cluster that was here before.
    pub(super) fn layout(&self) -> Result<Option<Layout>, Failure> {
        let path = self.folder.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(Failure::Other(format!(
                    "cannot read {}: {error}",
                    path.display()
                )));
            }
        };
        match parse(&text) {
            Some(layout) => Ok(Some(layout)),
            None => Err(Failure::Other(format!(
                "{} is damaged: remove the whole folder, or choose another --data-dir",
                path.display()
            ))),
        }
    }

    pub(super) fn keep(&self, layout: &Layout) -> Result<(), Failure> {
        let path = self.folder.join(FILE);
        let text = json!({
            "nodes": layout.nodes,
            "base_port": layout.base_port,
            "token": layout.token,
        });
        fs::write(&path, format!("{text}\n"))
            .map_err(|error| Failure::Other(format!("cannot write {}: {error}", path.display())))
    }

    /// What starts the member, program first.
    pub(super) fn command(
        &self,
        program: &Path,
        layout: &Layout,
        index: usize,
        flags: &[OsString],
    ) -> Vec<OsString> {
        let client_url = format!("http://{}", layout.endpoint(index));
        let peer_url = layout.peer_url(index);
        let pairs = [
            ("--name", Layout::name(index)),
            ("--listen-client-urls", client_url.clone()),
            ("--advertise-client-urls", client_url),
            ("--listen-peer-urls", peer_url.clone()),
            ("--initial-advertise-peer-urls", peer_url),
            ("--initial-cluster", layout.initial_cluster()),
            ("--initial-cluster-token", layout.token.clone()),
        ];
        let mut command = vec![program.into(), "serve".into(), "--data-dir".into()];
        command.push(self.data_dir(index).into());
        for (flag, value) in pairs {
            command.extend([flag.into(), value.into()]);
        }
        command.extend(flags.iter().cloned());
        command
    }
}

fn parse(text: &str) -> Option<Layout> {
    let value: Value = serde_json::from_str(text).ok()?;
    let nodes = value["nodes"].as_u64()?;
    Some(Layout {
        nodes: usize::try_from(nodes).ok().filter(|nodes| *nodes > 0)?,
        base_port: value["base_port"].as_u64()?.try_into().ok()?,
        token: value["token"].as_str()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_have_neighbouring_ports() {
        let layout = Layout {
            nodes: 3,
            base_port: 2379,
            token: "t".to_owned(),
        };
        assert_eq!(
            layout.endpoints(),
            "127.0.0.1:2379,127.0.0.1:2381,127.0.0.1:2383"
        );
        assert_eq!(
            layout.initial_cluster(),
            "m1=http://127.0.0.1:2380,m2=http://127.0.0.1:2382,m3=http://127.0.0.1:2384"
        );
    }

    #[test]
    fn a_temporary_folder_goes_with_the_place() {
        let place = Place::open(None).unwrap();
        let folder = place.folder().to_owned();
        assert!(folder.is_dir() && place.is_temporary());
        drop(place);
        assert!(!folder.exists());
    }

    #[test]
    fn a_damaged_memory_is_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "{}").unwrap();
        let error = Place::open(Some(dir.path())).unwrap().layout().unwrap_err();
        assert!(error.to_string().contains("is damaged"), "{error}");
    }
}
