//! Messages of logical replication: what a server writes is what the recordings of its version hold.
//!
//! `UPDATE=1` writes the recordings anew, which the tests that need no server read: the bytes, and what they say. One is
//! added as an empty file.

use crate::{databases, words::describe};
use std::{fs, path::Path};

#[test]
fn servers_write_what_was_recorded() {
    let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/pgoutput");
    for database in databases() {
        let major = database.major();
        let settings = ["wal_level=logical", "logical_decoding_work_mem=64kB"];
        let files = database.run(&settings, &[], include_str!("record.sql"));
        files.no_errors();
        for form in ["text", "binary"] {
            let hex = files.read(form);
            let says = describe(&hex);
            let file = |extension| recordings.join(format!("{major}-{form}.{extension}"));
            if std::env::var_os("UPDATE").is_some() && file("hex").exists() {
                fs::write(file("hex"), &hex).unwrap();
                fs::write(file("txt"), &says).unwrap();
            }
            // Not every version is kept: what differs between them is in the oldest and the newest.
            match fs::read_to_string(file("txt")) {
                Ok(recorded) => assert_eq!(says, recorded, "PostgreSQL {major}, {form}"),
                Err(_) => eprintln!("PostgreSQL {major} writes {form} that is read; it was not recorded"),
            }
        }
    }
}
