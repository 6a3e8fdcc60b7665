//! Making a cluster of one out of a surviving member's data, when the others are lost for good.
//!
//! Owns the order of the steps, so that a recovery that was cut short can simply be repeated: the
//! state takes in what the log has and more, then the log goes, then the identity changes. The
//! server must not run meanwhile; the lock on the data directory sees to that.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use handfast_consensus::recovery;
use handfast_mvcc::{Store, StoreOptions};
use handfast_proto::command::MemberInfo;
use handfast_storage::LogPosition;
use handfast_storage::data_dir::DataDir;
use handfast_storage::disk::{Disk, RealDisk};
use handfast_storage::state::{State, StateOptions};
use handfast_storage::wal::{Identity, Vote, Wal, WalOptions};

use crate::config::Url;
use crate::failure::Error;
use crate::ids::Ids;

/// What to recover, and as whom.
#[derive(Debug, Clone)]
pub struct RecoverOptions {
    /// The data directory of the surviving member.
    pub data_dir: PathBuf,
    /// The folder of its log, when that is not in the data directory.
    pub wal_dir: Option<PathBuf>,
    /// A new name; `None` keeps the old one.
    pub name: Option<String>,
    /// Where other members will reach it; empty keeps the old addresses.
    pub peer_urls: Vec<Url>,
    /// How far the revision is raised: beyond everything that clients may have seen of writes that
    /// are lost now.
    pub bump_revision: i64,
}

/// A cluster of one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// Its id: a new one, so that members of the old cluster cannot talk to it.
    pub cluster_id: u64,
    /// Its only member; the id is the old one.
    pub member_id: u64,
    /// The revision after it was raised.
    pub revision: i64,
    /// The names of the members of the old cluster, or their ids in hexadecimal without one.
    pub old_members: Vec<String>,
}

/// What a data directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspected {
    /// The cluster it belongs to.
    pub cluster_id: u64,
    /// The member it belongs to.
    pub member_id: u64,
    /// That member's name, if the data has it.
    pub name: String,
    /// Every member of the cluster, as the data has it.
    pub members: Vec<MemberInfo>,
    /// The revision of the state; the log may hold newer ones.
    pub revision: i64,
    /// Index of the last log entry that is in the state.
    pub applied_index: u64,
    /// Index of the last log entry.
    pub last_index: u64,
}

/// Looks at the data of a member that does not run. Blocks.
///
/// # Errors
/// When it runs, or the data cannot be read.
pub fn inspect(data_dir: &Path, wal_dir: Option<&Path>) -> Result<Inspected, Error> {
    let data = Data::open(data_dir, wal_dir)?;
    let members = data.members()?;
    let own = members
        .iter()
        .find(|member| member.id == data.identity.member_id);
    let last = data.wal.state().last;
    Ok(Inspected {
        cluster_id: data.identity.cluster_id,
        member_id: data.identity.member_id,
        name: own.map(|own| own.name.clone()).unwrap_or_default(),
        revision: data.store.revision(),
        applied_index: data.store.applied().map_or(0, |applied| applied.index),
        last_index: last.map_or(0, |last| last.index),
        members,
    })
}

/// Makes the data of a member that does not run those of a cluster of one. Blocks.
///
/// What only the lost members had is gone. Repeat it when it was cut short.
///
/// # Errors
/// When the member runs, or its data cannot be read or written.
pub fn recover(options: RecoverOptions) -> Result<Recovered, Error> {
    let data = Data::open(&options.data_dir, options.wal_dir.as_deref())?;
    recovery::replay(&data.wal, &data.store).map_err(unreadable)?;
    let Some(applied) = data.store.applied() else {
        return Err(Error::Recover(format!(
            "{} holds no data yet: there is nothing to recover",
            options.data_dir.display()
        )));
    };
    let members = data.members()?;
    let member_id = data.identity.member_id;
    let own = members.iter().find(|member| member.id == member_id);
    let member = sole_member(&options, member_id, own);
    // Tried here, where an error can be answered.
    recovery::single_member(member.clone(), applied).map_err(unreadable)?;
    let encoded = |at: LogPosition| -> Bytes {
        recovery::single_member(member.clone(), at).unwrap_or_default()
    };
    let revision = data.store.recover(&encoded, options.bump_revision)?;
    let identity = Identity {
        cluster_id: Ids::default().draw().max(1),
        member_id,
    };
    // No vote of the new cluster may be of a term that the old one has seen.
    let voted = data.wal.state().vote.map_or(0, |vote| vote.term);
    let vote = Vote {
        term: voted.max(applied.term),
        node_id: member_id,
        committed: false,
    };
    data.replace_log(identity, applied, vote)?;
    Ok(Recovered {
        cluster_id: identity.cluster_id,
        member_id,
        revision,
        old_members: members.iter().map(name_or_id).collect(),
    })
}

/// The data of a member that does not run.
struct Data {
    dir: DataDir,
    identity: Identity,
    wal_dir: PathBuf,
    wal: Wal,
    store: Store,
}

impl Data {
    fn open(data_dir: &Path, wal_dir: Option<&Path>) -> Result<Data, Error> {
        // Opening would make an empty one.
        if !data_dir.is_dir() {
            return Err(Error::Recover(format!(
                "{} is not a folder: name the data directory of a member",
                data_dir.display()
            )));
        }
        let dir = DataDir::open(data_dir)?;
        let Some(identity) = dir.identity() else {
            return Err(Error::Recover(format!(
                "{} holds no member's data",
                data_dir.display()
            )));
        };
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let wal_dir = wal_dir.map_or_else(|| dir.wal_dir(), Path::to_owned);
        let wal = Wal::open(
            Arc::clone(&disk),
            &wal_dir,
            identity,
            WalOptions::default(),
        )?;
        let state = State::open(disk, &dir.state_path(), StateOptions::default())?;
        let store = Store::open(Arc::new(state), StoreOptions::default())?;
        Ok(Data {
            dir,
            identity,
            wal_dir,
            wal,
            store,
        })
    }

    fn members(&self) -> Result<Vec<MemberInfo>, Error> {
        recovery::members(self.store.membership()).map_err(unreadable)
    }

    /// Puts an empty log of another identity, which goes on behind `applied`, in the log's place.
    fn replace_log(
        mut self,
        identity: Identity,
        applied: LogPosition,
        vote: Vote,
    ) -> Result<(), Error> {
        // Everything that it held is in the state.
        self.wal.close();
        remove_log(&self.wal_dir).map_err(unreadable)?;
        self.dir.replace_identity(identity)?;
        let disk = Arc::new(RealDisk);
        let wal = Wal::open(disk, &self.wal_dir, identity, WalOptions::default())?;
        wal.purge(applied);
        let (saved, outcome) = std::sync::mpsc::channel();
        wal.save_vote(
            vote,
            Box::new(move |result| drop(saved.send(result))),
        );
        let closed = |_| Err(io::Error::other("the log was closed"));
        outcome.recv().unwrap_or_else(closed).map_err(unreadable)?;
        wal.close();
        Ok(())
    }
}

fn remove_log(wal_dir: &Path) -> io::Result<()> {
    for name in RealDisk.list(wal_dir)? {
        RealDisk.remove(&wal_dir.join(name))?;
    }
    RealDisk.sync_dir(wal_dir)
}

fn sole_member(options: &RecoverOptions, id: u64, own: Option<&MemberInfo>) -> MemberInfo {
    let before = own.cloned().unwrap_or_default();
    let peer_urls = match options.peer_urls.as_slice() {
        [] => before.peer_urls,
        urls => urls.iter().map(Url::to_string).collect(),
    };
    MemberInfo {
        id,
        name: options.name.clone().unwrap_or(before.name),
        peer_urls,
        // It says itself where its clients find it, when it starts.
        ..MemberInfo::default()
    }
}

fn name_or_id(member: &MemberInfo) -> String {
    match member.name.as_str() {
        "" => format!("{:x}", member.id),
        name => name.to_owned(),
    }
}

fn unreadable(error: io::Error) -> Error {
    Error::Recover(format!("the data cannot be recovered: {error}"))
}
