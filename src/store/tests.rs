use std::time::Duration;

use super::*;
use crate::base::{Address, Timestamp};
use crate::engine::{Engine, Input, Order};
use crate::queue::Limits;
use crate::record::{JobSpec, RunSpec};

fn spec(address: &str) -> std::sync::Arc<RunSpec> {
    let address = Address::parse(address).unwrap_or_default();
    let job = JobSpec { job: address.job().into(), ..JobSpec::default() };
    RunSpec { address, job: job.into(), ..RunSpec::default() }.into()
}

fn apply(addresses: &[&str]) -> (Engine, crate::engine::Step) {
    let mut engine = Engine::new(Default::default(), Limits::default());
    let orders = addresses.iter().map(|a| Order::Run(spec(a))).collect();
    let step = engine.step(Input::Apply { plan_id: "p".into(), by: "me".into(), orders }, Timestamp(1000));
    (engine, step)
}

#[test]
fn what_was_appended_is_read_back() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let mut store = Store::open(folder.path())?;
    let lock = store.lock("apply", Duration::ZERO)?;
    let (engine, step) = apply(&["w/a", "w/b[0]", "w/b[1]", "w/c", "w/d"]);
    store.append(&lock, &step.events, engine.state(), &[], Timestamp(1000))?;
    let again = Store::open_existing(folder.path())?.ok_or("gone")?;
    assert_eq!(&again.load()?, engine.state());
    assert_eq!(again.serial()?, step.events.len() as u64);
    Ok(())
}

#[test]
fn counts_are_those_of_the_runs_whatever_happens_to_them() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let mut store = Store::open(folder.path())?;
    let lock = store.lock("apply", Duration::ZERO)?;
    let (mut engine, step) = apply(&["w/a", "w/b[0]", "w/b[1]", "w/c"]);
    store.append(&lock, &step.events, engine.state(), &[], Timestamp(1000))?;
    let address = |a: &str| Address::parse(a).unwrap_or_default();
    let by = || "me".to_owned();
    let inputs = [
        Input::Cancel { addresses: vec![address("w/b[0]"), address("w/c")], by: by() },
        Input::Forget { addresses: vec![address("w/c")], by: by() },
        Input::Retry { addresses: vec![address("w/b[0]")], by: by() },
        Input::Forget { addresses: vec![address("w/a")], by: by() },
    ];
    for input in inputs {
        let step = engine.step(input, Timestamp(2000));
        store.append(&lock, &step.events, engine.state(), &[], Timestamp(2000))?;
        let count = |job: Option<&str>| {
            let mine = engine.state().runs.values().filter(|r| job.is_none_or(|j| r.spec.address.job() == j));
            mine.fold(std::collections::BTreeMap::new(), |mut all, r| {
                *all.entry(r.status.word().to_owned()).or_insert(0_u64) += 1;
                all
            })
        };
        assert_eq!(store.counts()?, count(None));
        for job in ["w/a", "w/b", "w/c"] {
            assert_eq!(store.counts_of(job)?, count(Some(job)), "{job}");
        }
    }
    // A state of the format before counts is counted when it is opened.
    let (all, of_b) = (store.counts()?, store.counts_of("w/b")?);
    store.db.execute_batch("DROP TABLE counts; PRAGMA user_version = 5")?;
    let again = Store::open_existing(folder.path())?.ok_or("gone")?;
    assert_eq!((again.counts()?, again.counts_of("w/b")?), (all, of_b));
    Ok(())
}

#[test]
fn a_second_writer_is_told_who_holds_the_lock_and_an_old_one_is_fenced() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let (mut first, mut second) = (Store::open(folder.path())?, Store::open(folder.path())?);
    let old = first.lock("apply", Duration::ZERO)?;
    match second.lock("apply", Duration::ZERO) {
        Err(StoreError::Held(holder)) => assert_eq!(holder.pid, std::process::id()),
        other => return Err(format!("{other:?}").into()),
    }
    second.break_lock()?;
    let new = second.lock("apply", Duration::ZERO)?;
    let (engine, step) = apply(&["w/a"]);
    assert!(matches!(first.append(&old, &step.events, engine.state(), &[], Timestamp(1)), Err(StoreError::Fenced)));
    assert!(matches!(first.renew(&old), Err(StoreError::Fenced)));
    second.append(&new, &step.events, engine.state(), &[], Timestamp(1))?;
    assert_eq!(first.serial()?, step.events.len() as u64, "nothing of the fenced writer");
    Ok(())
}

#[test]
fn an_emptied_state_is_no_new_one() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    // A crash before the first table leaves an empty file: there was no state yet.
    std::fs::File::create(folder.path().join(FILE))?;
    Store::open(folder.path())?.backup(Timestamp(1))?;
    std::fs::File::create(folder.path().join(FILE))?;
    for opened in [Store::open(folder.path()).map(Some), Store::open_existing(folder.path())] {
        let error = opened.err().ok_or("taken for a new state")?;
        assert!(error.to_string().ends_with("is damaged: the file is empty"), "{error}");
        assert!(error.hint().contains("backup/state-000000000000001.db"), "{}", error.hint());
    }
    Ok(())
}

#[test]
fn a_dead_holder_is_overtaken_at_once() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let mut store = Store::open(folder.path())?;
    let mut dead = me("apply", Timestamp(0));
    dead.birth = "another boot/1".to_owned();
    store.db.execute("UPDATE lock SET holder = ?1, epoch = 7", [serde_json::to_string(&dead)?])?;
    assert_eq!(store.lock("apply", Duration::ZERO)?.epoch, 8);
    Ok(())
}

#[test]
fn a_damaged_or_newer_state_is_refused_with_what_restores_it() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let store = Store::open(folder.path())?;
    store.backup(Timestamp(5))?;
    drop(store);
    let path = folder.path().join(FILE);
    for side in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.path().join(format!("{FILE}{side}")));
    }
    let good = std::fs::read(&path)?;
    std::fs::write(&path, vec![7_u8; 8192])?;
    let Err(error) = Store::open_existing(folder.path()) else { return Err("opened".into()) };
    assert!(matches!(error, StoreError::Corrupt { .. }) && error.hint().contains("backup/state-"), "{error} {}", error.hint());
    let mut newer = good;
    newer[60..64].copy_from_slice(&99_u32.to_be_bytes());
    std::fs::write(&path, newer)?;
    assert!(matches!(Store::open_existing(folder.path()), Err(StoreError::Newer { found: 99, .. })));
    Ok(())
}

#[test]
fn events_cannot_be_changed_or_removed() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let mut store = Store::open(folder.path())?;
    let lock = store.lock("apply", Duration::ZERO)?;
    let (engine, step) = apply(&["w/a"]);
    store.append(&lock, &step.events, engine.state(), &[], Timestamp(1))?;
    assert!(store.db.execute("DELETE FROM events", []).is_err());
    assert!(store.db.execute("UPDATE events SET at = 0", []).is_err());
    Ok(())
}
