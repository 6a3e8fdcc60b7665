//! Making a cluster of one out of a surviving member's data, when the others are lost for good.
//!
//! Owns what the operator decides and learns; `handfast_mvcc::survivor` does it, and consensus
//! knows how logs and memberships are written. The server must not run meanwhile: the lock on the
//! data directory sees to that.

use std::io;
use std::path::{Path, PathBuf};

use handfast_consensus::recovery;
use handfast_mvcc::Store;
use handfast_mvcc::survivor::{Recovery, Survivor};
use handfast_proto::command::MemberInfo;
use handfast_storage::LogPosition;
use handfast_storage::data_dir::DataDir;
use handfast_storage::wal::Identity;

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
    /// The revision with everything that the log holds.
    pub revision: i64,
    /// Index of the last log entry that is in the state file.
    pub applied_index: u64,
    /// Index of the last log entry.
    pub last_index: u64,
}

/// Looks at the data of a member that does not run. Blocks.
///
/// # Errors
/// When it runs, or the data cannot be read.
pub fn inspect(data_dir: &Path, wal_dir: Option<&Path>) -> Result<Inspected, Error> {
    check_is_folder(data_dir)?;
    let dir = DataDir::open(data_dir)?;
    let identity = dir.identity().ok_or_else(|| no_data(data_dir))?;
    let seen = survivor(&dir, wal_dir)?.look(&recovery::entries)?;
    let members = members_of(&seen.store)?;
    let own = members
        .iter()
        .find(|member| member.id == identity.member_id);
    Ok(Inspected {
        cluster_id: identity.cluster_id,
        member_id: identity.member_id,
        name: own.map(|own| own.name.clone()).unwrap_or_default(),
        revision: seen.store.revision(),
        applied_index: seen.applied_index,
        last_index: seen.last_index,
        members,
    })
}

/// Makes the data of a member that does not run those of a cluster of one. Blocks.
///
/// What only the lost members had is gone. When it was cut short nothing else uses the data, and
/// it has to be repeated.
///
/// # Errors
/// When the member runs, or its data cannot be read or written.
pub fn recover(options: RecoverOptions) -> Result<Recovered, Error> {
    check_is_folder(&options.data_dir)?;
    let mut dir = DataDir::open_for_recovery(&options.data_dir)?;
    let old = dir.identity().ok_or_else(|| no_data(&options.data_dir))?;
    let survivor = survivor(&dir, options.wal_dir.as_deref())?;
    let members = members_of(&survivor.look(&recovery::entries)?.store)?;
    let own = members.iter().find(|member| member.id == old.member_id);
    let member = sole_member(&options, old.member_id, own);
    // Tried here, where an error can be answered.
    recovery::single_member(member.clone(), LogPosition::default()).map_err(unreadable)?;
    let recovered = survivor.recover(&Recovery {
        identity: Identity {
            cluster_id: Ids::default().draw().max(1),
            member_id: old.member_id,
        },
        bump: options.bump_revision,
        membership: &|_, position| {
            recovery::single_member(member.clone(), position).unwrap_or_default()
        },
        entries: &recovery::entries,
    })?;
    dir.replace_identity(recovered.identity)?;
    dir.remove_join_token()?;
    survivor.finish()?;
    Ok(Recovered {
        cluster_id: recovered.identity.cluster_id,
        member_id: recovered.identity.member_id,
        revision: recovered.revision,
        old_members: members.iter().map(name_or_id).collect(),
    })
}

/// Opening a folder would make it.
fn check_is_folder(data_dir: &Path) -> Result<(), Error> {
    match data_dir.is_dir() {
        true => Ok(()),
        false => Err(Error::Recover(format!(
            "{} is not a folder: name the data directory of a member",
            data_dir.display()
        ))),
    }
}

fn no_data(data_dir: &Path) -> Error {
    Error::Recover(format!("{} holds no member's data", data_dir.display()))
}

fn survivor(dir: &DataDir, wal_dir: Option<&Path>) -> Result<Survivor, Error> {
    let mut survivor = Survivor::in_dir(dir)?;
    if let Some(wal_dir) = wal_dir {
        survivor.wal_dir = wal_dir.to_owned();
    }
    Ok(survivor)
}

fn members_of(store: &Store) -> Result<Vec<MemberInfo>, Error> {
    recovery::members(store.membership()).map_err(unreadable)
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
