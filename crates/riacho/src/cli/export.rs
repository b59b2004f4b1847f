//! Exports of DynamoDB to S3, as they lie in a folder: which files hold the items, and whether they are whole.
//!
//! Spec: Amazon DynamoDB Developer Guide, "DynamoDB table export output format".

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::read::MultiGzDecoder;
use md5::{Digest as _, Md5};
use riacho_core::time::{Millis, parse_rfc3339};
use serde::Deserialize;
use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// A file that holds items.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct DataFile {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// How many items it must hold.
    pub(super) items: Option<u64>,
    md5: Option<String>,
}

/// The files of an export.
#[derive(Debug)]
pub(super) struct Export {
    /// In the order of the manifest.
    pub(super) files: Vec<DataFile>,
    /// The table that was exported, where that is said.
    pub(super) table: Option<String>,
    /// When the table was as it is here.
    pub(super) at: Option<Millis>,
}

/// A line of `manifest-files.json`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    item_count: Option<u64>,
    md5_checksum: Option<String>,
    data_file_s3_key: String,
}

/// What is read of `manifest-summary.json`.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Summary {
    table_arn: Option<String>,
    export_time: Option<String>,
    output_format: Option<String>,
    export_type: Option<String>,
}

impl DataFile {
    /// A file of which nothing is promised.
    ///
    /// # Errors
    /// It is not there.
    pub(super) fn of(path: PathBuf) -> Result<Self, String> {
        let found = fs::metadata(&path).map_err(|err| format!("{}: {err}", path.display()))?;
        Ok(Self { path, bytes: found.len(), items: None, md5: None })
    }

    /// Checks its bytes against what the manifest says of them.
    ///
    /// # Errors
    /// It cannot be read, or is another.
    pub(super) fn verify(&self) -> Result<(), String> {
        let Some(md5) = &self.md5 else { return Ok(()) };
        let open = || File::open(&self.path);
        let sum = |sum: io::Result<String>| sum.map_err(|err| format!("{}: {err}", self.path.display()));
        // It is not said whether the sum is of the file or of what it is unpacked to.
        let same = sum(open().and_then(md5_of))? == *md5
            || open()
                .and_then(|file| md5_of(MultiGzDecoder::new(file)))
                .is_ok_and(|unpacked| unpacked == *md5);
        if same {
            return Ok(());
        }
        Err(format!("{}: its MD5 is not the one of the manifest: copy it again", self.path.display()))
    }
}

impl Export {
    /// The export in `folder`: the folder of one export, with its manifests, or one above it that holds no other.
    ///
    /// # Errors
    /// There is none, or one that cannot be imported.
    pub(super) fn open(folder: &Path) -> Result<Self, String> {
        let folder = find(folder)?;
        let summary = folder.join("manifest-summary.json");
        let summary: Summary = match text(&summary) {
            Ok(text) => serde_json::from_str(&text).map_err(|err| format!("{}: {err}", summary.display()))?,
            Err(_) if !summary.exists() => Summary::default(),
            Err(err) => return Err(err),
        };
        let shown = folder.display();
        if summary.export_type.as_deref() == Some("INCREMENTAL_EXPORT") {
            return Err(format!("{shown} is {INCREMENTAL}"));
        }
        if summary.output_format.as_deref() == Some("ION") {
            return Err(format!("{shown} is {ION}"));
        }
        let manifest = folder.join("manifest-files.json");
        let text = text(&manifest)?;
        let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
        let files = lines.map(|(line, number)| {
            let at = |what: String| format!("{}, line {number}: {what}", manifest.display());
            let listed = serde_json::from_str(line).map_err(|err| at(err.to_string()))?;
            listed_in(&folder, listed).map_err(at)
        });
        let table = summary.table_arn.and_then(|arn| Some(arn.split_once(":table/")?.1.to_owned()));
        let at = summary.export_time.as_deref().and_then(parse_rfc3339);
        Ok(Self { files: files.collect::<Result<_, _>>()?, table, at })
    }
}

// The file lies in `data` whatever is before that in the bucket.
fn listed_in(folder: &Path, listed: Listed) -> Result<DataFile, String> {
    let name = listed.data_file_s3_key.rsplit('/').next().unwrap_or_default();
    if matches!(name, "" | "." | "..") {
        return Err("`dataFileS3Key` names no file".to_owned());
    }
    let file = DataFile::of(folder.join("data").join(name))?;
    Ok(DataFile { items: listed.item_count, md5: listed.md5_checksum, ..file })
}

fn find(folder: &Path) -> Result<PathBuf, String> {
    let is_export = |folder: &Path| folder.join("manifest-files.json").is_file();
    if is_export(folder) {
        return Ok(folder.to_owned());
    }
    for above in [folder.join("AWSDynamoDB"), folder.to_owned()] {
        let Ok(entries) = fs::read_dir(&above) else { continue };
        let paths = entries.take(ENTRIES_MAX).filter_map(|entry| Some(entry.ok()?.path()));
        let mut exports: Vec<PathBuf> = paths.filter(|path| is_export(path)).collect();
        exports.sort();
        match &exports[..] {
            [] => {}
            [one] => return Ok(one.clone()),
            several => {
                let names: Vec<String> = several.iter().map(|path| path.display().to_string()).collect();
                return Err(format!(
                    "{} holds several exports; name one:\n{}",
                    folder.display(),
                    names.join("\n")
                ));
            }
        }
    }
    Err(format!(
        "{} is no export to S3: no manifest-files.json is in it, nor in a folder of its AWSDynamoDB; files are named one by one",
        folder.display()
    ))
}

fn text(path: &Path) -> Result<String, String> {
    let failed = |err: io::Error| format!("{}: {err}", path.display());
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MANIFEST_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

fn md5_of(mut from: impl Read) -> io::Result<String> {
    let (mut hasher, mut piece) = (Md5::new(), vec![0; PIECE_BYTES]);
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(STANDARD.encode(hasher.finalize())),
            Ok(count) => hasher.update(piece.get(..count).unwrap_or_default()),
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
}

/// What is said of an incremental export.
pub(super) const INCREMENTAL: &str = "an incremental export, which has only what changed: import a full export; what \
                                      changes since comes by the stream";
/// What is said of Amazon Ion.
pub(super) const ION: &str = "Amazon Ion: export as DynamoDB JSON";
const MANIFEST_BYTES_MAX: u64 = 64 << 20;
const ENTRIES_MAX: usize = 10_000;
const PIECE_BYTES: usize = 64 << 10;
