use std::os::unix::fs::symlink;

use super::*;

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        fs::create_dir_all(dir.path().join("root/.oppen"))?;
        Ok(Self { dir })
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn store(&self) -> Objects {
        Objects::new(self.root().join(".oppen/objects"))
    }

    fn write(&self, path: &str, text: &str) -> io::Result<()> {
        let path = self.root().join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, text)
    }
}

#[test]
fn a_file_goes_in_and_comes_back() -> io::Result<()> {
    let place = Place::new()?;
    place.write("out/model.bin", "weights")?;
    let record = place.store().put(&place.root(), "out/model.bin")?;
    assert_eq!(record.digest, Some(Digest::of(b"weights")));
    assert_eq!(record.bytes, 7);
    assert_eq!(record.digest, digest_path(&place.root(), "out/model.bin").ok());
    assert_eq!(place.store().put(&place.root(), "out/model.bin")?, record, "twice is once");

    place.write("out/model.bin", "changed!")?;
    place.store().restore(&place.root(), &record)?;
    assert_eq!(fs::read_to_string(place.root().join("out/model.bin"))?, "weights");
    fs::remove_dir_all(place.root().join("out"))?;
    place.store().restore(&place.root(), &record)?;
    assert_eq!(fs::read_to_string(place.root().join("out/model.bin"))?, "weights");
    let left: Vec<_> = fs::read_dir(place.root().join("out"))?.collect::<Result<_, _>>()?;
    assert_eq!(left.len(), 1, "nothing temporary stays");
    Ok(())
}

#[test]
fn a_later_change_does_not_reach_the_store() -> io::Result<()> {
    let place = Place::new()?;
    place.write("a", "first")?;
    let record = place.store().put(&place.root(), "a")?;
    let mut file = fs::OpenOptions::new().write(true).open(place.root().join("a"))?;
    file.write_all(b"FIRST")?;
    place.store().restore(&place.root(), &record)?;
    assert_eq!(fs::read_to_string(place.root().join("a"))?, "first");
    Ok(())
}

#[test]
fn a_folder_keeps_names_bits_and_empty_folders() -> io::Result<()> {
    let place = Place::new()?;
    place.write("d/a.txt", "a")?;
    place.write("d/sub/run me\n.sh", "#!/bin/sh")?;
    fs::set_permissions(place.root().join("d/sub/run me\n.sh"), fs::Permissions::from_mode(0o755))?;
    fs::create_dir(place.root().join("d/empty"))?;
    symlink("a.txt", place.root().join("d/link"))?;
    let record = place.store().put(&place.root(), "d")?;
    assert_eq!(record.bytes, 11);

    fs::remove_dir_all(place.root().join("d"))?;
    place.write("d", "a file in its place")?;
    place.store().restore(&place.root(), &record)?;
    assert_eq!(digest_path(&place.root(), "d").ok(), record.digest);
    assert!(place.root().join("d/empty").is_dir());
    assert_eq!(fs::read_to_string(place.root().join("d/link"))?, "a");
    assert_eq!(fs::metadata(place.root().join("d/sub/run me\n.sh"))?.permissions().mode() & 0o100, 0o100);
    Ok(())
}

#[test]
fn digests_of_folders_see_every_difference() -> io::Result<()> {
    let place = Place::new()?;
    place.write("d/a", "x")?;
    let first = digest_path(&place.root(), "d")?;
    fs::rename(place.root().join("d/a"), place.root().join("d/b"))?;
    let renamed = digest_path(&place.root(), "d")?;
    place.write("d/b", "y")?;
    let changed = digest_path(&place.root(), "d")?;
    fs::set_permissions(place.root().join("d/b"), fs::Permissions::from_mode(0o755))?;
    let executable = digest_path(&place.root(), "d")?;
    let all = std::collections::BTreeSet::from([first, renamed, changed, executable]);
    assert_eq!(all.len(), 4);
    Ok(())
}

#[test]
fn nothing_leads_out_of_the_root() -> io::Result<()> {
    let place = Place::new()?;
    fs::write(place.dir.path().join("secret"), "s")?;
    symlink("../secret", place.root().join("out"))?;
    fs::create_dir(place.root().join("d"))?;
    symlink("../..", place.root().join("d/up"))?;
    symlink(".", place.root().join("round"))?;
    fs::create_dir(place.root().join("e"))?;
    symlink("../e", place.root().join("e/self"))?;
    place.write(".oppen/state.db", "db")?;
    symlink(".oppen", place.root().join("state"))?;
    for path in ["out", "d", "d/up/secret", "../secret", "/etc/passwd", ".oppen/state.db", "state", "state/state.db", "e"] {
        assert!(digest_path(&place.root(), path).is_err(), "{path}");
        assert!(place.store().put(&place.root(), path).is_err(), "{path}");
    }
    let record = OutputRecord { path: "d/up/secret".to_owned(), digest: Some(Digest::of(b"x")), bytes: 1 };
    place.write("x", "x")?;
    place.store().put(&place.root(), "x")?;
    for path in ["d/up/secret", "../secret", "/tmp/x", ".oppen/x", "state/x", "."] {
        let record = OutputRecord { path: path.to_owned(), ..record.clone() };
        assert!(place.store().restore(&place.root(), &record).is_err(), "{path}");
    }
    assert_eq!(fs::read_to_string(place.dir.path().join("secret"))?, "s");
    place.store().restore(&place.root(), &OutputRecord { path: "out".to_owned(), ..record })?;
    assert_eq!(fs::read_to_string(place.dir.path().join("secret"))?, "s", "a link is replaced, not written through");
    Ok(())
}

#[test]
fn damaged_objects_are_refused_and_the_old_file_stays() -> io::Result<()> {
    let place = Place::new()?;
    place.write("a", "good")?;
    let record = place.store().put(&place.root(), "a")?;
    let object = place.store().place(&Digest::of(b"good"));
    fs::set_permissions(&object, fs::Permissions::from_mode(0o600))?;
    fs::write(&object, "evil")?;
    place.write("a", "mine")?;
    assert!(place.store().restore(&place.root(), &record).is_err());
    assert_eq!(fs::read_to_string(place.root().join("a"))?, "mine");
    fs::remove_file(&object)?;
    assert!(!place.store().has(&Digest::of(b"good")));
    assert!(place.store().restore(&place.root(), &record).is_err());
    assert!(place.store().put(&place.root(), "none").is_err());
    Ok(())
}

#[test]
fn odd_files_are_refused() -> io::Result<()> {
    let place = Place::new()?;
    fs::create_dir(place.root().join("d"))?;
    rustix::fs::mknodat(rustix::fs::CWD, place.root().join("d/pipe"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)?;
    assert!(digest_path(&place.root(), "d").is_err());
    assert!(digest_path(&place.root(), "d/pipe").is_err(), "a pipe must not block");
    Ok(())
}
