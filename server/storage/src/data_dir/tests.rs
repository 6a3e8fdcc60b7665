//! Tests of the data directory on the real disk.

use super::*;

const IDENTITY_A: Identity = Identity {
    cluster_id: 7,
    member_id: 9,
};

#[test]
fn identity_survives_reopening_and_directory_is_private() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("data");
    let mut dir = DataDir::open(&path).unwrap();
    assert_eq!(dir.identity(), None);
    dir.set_identity(IDENTITY_A).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o700
    );
    drop(dir);
    let mut dir = DataDir::open(&path).unwrap();
    assert_eq!(dir.identity(), Some(IDENTITY_A));
    dir.set_identity(IDENTITY_A).unwrap();
    let other = Identity {
        cluster_id: 7,
        member_id: 8,
    };
    assert!(matches!(
        dir.set_identity(other),
        Err(Error::OtherMember { .. })
    ));
}

#[test]
fn a_second_holder_learns_the_pid() {
    let root = tempfile::tempdir().unwrap();
    let _held = DataDir::open(root.path()).unwrap();
    let error = DataDir::open(root.path()).unwrap_err();
    assert!(matches!(error, Error::Locked { pid: Some(pid), .. } if pid == std::process::id()));
    assert!(error.to_string().contains(&std::process::id().to_string()));
}

#[test]
fn foreign_directories_are_left_alone() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("thesis.txt"), "x").unwrap();
    let error = DataDir::open(root.path()).unwrap_err();
    assert!(error.to_string().contains("thesis.txt"), "{error}");
    assert_eq!(RealDisk.list(root.path()).unwrap(), ["thesis.txt"]);

    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join(WAL)).unwrap();
    assert!(matches!(
        DataDir::open(root.path()),
        Err(Error::ForeignDirectory { .. })
    ));

    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("lost+found")).unwrap();
    DataDir::open(root.path()).unwrap();

    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(matches!(
        DataDir::open(&file),
        Err(Error::ForeignFile { .. })
    ));
}

#[test]
fn identity_of_another_version_or_damaged_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join(IDENTITY);
    let good = encode(IDENTITY_A);
    let mut newer = good;
    newer[8] = 2;
    fs::write(&path, newer).unwrap();
    let error = DataDir::open(root.path()).unwrap_err();
    assert!(
        matches!(error, Error::FormatVersion { found: 2, .. }),
        "{error}"
    );
    for bit in 0..(good.len() - 12) * 8 {
        let mut flipped = good;
        flipped[12 + bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(
            decode(&flipped, &path),
            Err(Error::Corrupt { .. })
        ));
    }
    assert!(matches!(
        decode(b"#!/bin/sh\n", &path),
        Err(Error::ForeignFile { .. })
    ));
    assert_eq!(decode(&good, &path).unwrap(), IDENTITY_A);
}

#[test]
fn an_ephemeral_directory_disappears() {
    let dir = DataDir::ephemeral().unwrap();
    let path = dir.path().to_owned();
    assert!(path.exists() && dir.is_ephemeral());
    drop(dir);
    assert!(!path.exists());
}

#[test]
fn the_join_token_is_private_and_can_be_replaced() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("data");
    let dir = DataDir::open(&path).unwrap();
    assert_eq!(dir.join_token().unwrap(), None);
    for token in ["0123-4567", "89ab-cdef"] {
        dir.write_join_token(token).unwrap();
        assert_eq!(dir.join_token().unwrap().as_deref(), Some(token));
    }
    let mode = fs::metadata(path.join(JOIN_TOKEN)).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    dir.remove_join_token().unwrap();
    dir.remove_join_token().unwrap();
    assert_eq!(dir.join_token().unwrap(), None);
}

#[test]
fn a_half_recovered_directory_is_opened_for_recovery_only() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("data");
    assert!(DataDir::open_for_recovery(&path).is_err());
    assert!(!path.exists(), "nothing is made for a recovery");
    drop(DataDir::open(&path).unwrap());
    let error = DataDir::open_for_recovery(&path).unwrap_err();
    assert!(error.to_string().contains("holds no data"), "{error}");
    DataDir::open(&path)
        .unwrap()
        .set_identity(IDENTITY_A)
        .unwrap();
    let other = Identity {
        cluster_id: 70,
        member_id: 90,
    };
    let mark = recovery::Mark {
        identity: other,
        state: None,
    };
    let mut dir = DataDir::open_for_recovery(&path).unwrap();
    mark.write(&RealDisk, &path).unwrap();
    dir.replace_identity(other).unwrap();
    drop(dir);
    let error = DataDir::open(&path).unwrap_err();
    assert!(error.to_string().contains("cluster recover"), "{error}");
    let dir = DataDir::open_for_recovery(&path).unwrap();
    recovery::Mark::remove(&RealDisk, &path).unwrap();
    drop(dir);
    assert_eq!(DataDir::open(&path).unwrap().identity(), Some(other));
}
