//! `source import`: items in files of DynamoDB JSON become rows of a table that a source feeds.
//!
//! Nothing is removed from the table before the last item was taken: an import that is cut is begun again.

use super::{
    Env, Failure,
    client::{Problem, ServerArg, Trouble, backoff, cause, http, random, retry_after, runtime},
    export::{DataFile, Export, INCREMENTAL, ION},
    print,
    progress::Progress,
    say,
};
use crate::{clock, config::INGEST_SECRET, webhook::WebhookSecret};
use bytes::Bytes;
use clap::Args;
use flate2::read::MultiGzDecoder;
use reqwest::Url;
use riacho_core::{source::dynamodb::export::Line, time::Millis};
use serde::Deserialize;
use serde_json::json;
use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read as _, Seek as _},
    path::{Path, PathBuf},
    time::Duration,
};

#[derive(Args, Debug)]
pub(super) struct Import {
    /// The source's name.
    source: String,
    /// The table's name in DynamoDB.
    table: String,
    /// Files of DynamoDB JSON, an item a line, plain or gzip; or the folder of a full export to S3.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    server: ServerArg,
    /// A file that holds the source's secret [default: RIACHO_INGEST_SECRET]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

/// An import that is under way.
struct Sender {
    http: reqwest::Client,
    url: Url,
    secret: WebhookSecret,
    import: String,
    table: String,
    /// When the table had these items, where that is known.
    at: Option<Millis>,
    /// The number of the next part.
    part: u64,
    /// Lines of that part.
    lines: Vec<u8>,
    items: u64,
    trouble: Trouble,
}

/// Lines of a file.
struct Lines {
    /// Tells how far the other one has read.
    place: File,
    input: Box<dyn BufRead>,
    line: Vec<u8>,
    number: u64,
}

/// What the server says to a part that it took.
#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "items")]
    _items: u64,
}

impl Import {
    pub(super) fn run(self, env: &Env) -> Result<(), Failure> {
        let secret = self.secret(env)?;
        let mut url = self.server.resolve(env)?.url().clone();
        let under = url.path().trim_end_matches('/').to_owned();
        if let Ok(mut path) = url.path_segments_mut() {
            let under = under.split('/').filter(|segment| !segment.is_empty());
            path.clear().extend(under).extend(["ingest", "dynamodb", &self.source, "items"]);
        }
        let (files, at) = self.files().map_err(Failure::Failed)?;
        let sender = Sender {
            http: http()?,
            url,
            secret,
            import: format!("{:x}-{:016x}", clock::now(), random()),
            table: self.table.clone(),
            at,
            part: 0,
            lines: Vec::new(),
            items: 0,
            trouble: Trouble::default(),
        };
        let items = runtime()?.block_on(sender.all(&files)).map_err(Failure::Failed)?;
        print(format_args!("{items} items imported into {}\n", self.table))
    }

    fn secret(&self, env: &Env) -> Result<WebhookSecret, Failure> {
        let variable = INGEST_SECRET.env();
        let (at, text) = match &self.secret_file {
            Some(path) => {
                let at = format!("--secret-file: {}", path.display());
                let text = fs::read_to_string(path).map_err(|err| Failure::Usage(format!("{at}: {err}")))?;
                (at, text)
            }
            None => match env.iter().find(|(name, _)| *name == *variable) {
                Some((_, value)) => (variable.clone(), value.to_string_lossy().into_owned()),
                None => {
                    let text = format!(
                        "what is imported is signed: --secret-file, or {variable}, has the source's secret"
                    );
                    return Err(Failure::Usage(text));
                }
            },
        };
        WebhookSecret::parse(text.trim())
            .map_err(|_| Failure::Usage(format!("{at}: expected `whsec_` and 24 to 64 bytes in base64")))
    }

    // All files, those of exports unharmed; and the moment they are of, where all are of one.
    fn files(&self) -> Result<(Vec<DataFile>, Option<Millis>), String> {
        let (mut files, mut moments) = (Vec::new(), Vec::new());
        for path in &self.paths {
            if !path.is_dir() {
                files.push(DataFile::of(path.clone())?);
                moments.push(None);
                continue;
            }
            let export = Export::open(path)?;
            if let Some(table) = export.table.filter(|table| *table != self.table) {
                say(format_args!(
                    "{} is an export of `{table}`, imported into `{}`",
                    path.display(),
                    self.table
                ));
            }
            files.extend(export.files);
            moments.push(export.at);
        }
        let (mut done, total) = (0, bytes(&files));
        let mut progress = Progress::new("checking");
        for file in &files {
            file.verify()?;
            done += file.bytes;
            progress.at(done, total);
        }
        progress.done();
        // The oldest of them; one that is not known may be older.
        let at = moments.into_iter().collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().min());
        Ok((files, at))
    }
}

impl Sender {
    // Sends the items of all files; how many there were.
    async fn all(mut self, files: &[DataFile]) -> Result<u64, String> {
        let (mut done, total) = (0, bytes(files));
        let mut progress = Progress::new("importing");
        for file in files {
            let at = |what: String| format!("{}: {what}", file.path.display());
            let before = self.items;
            let mut lines = Lines::open(&file.path).map_err(|err| at(err.to_string()))?;
            while let Some(line) = lines.next().map_err(at)? {
                self.lines.extend_from_slice(line);
                self.lines.push(b'\n');
                self.items += 1;
                if self.lines.len() >= PART_BYTES {
                    self.send(false).await?;
                    progress.at(done + lines.place.stream_position().unwrap_or(0), total);
                }
            }
            let items = self.items - before;
            if let Some(expected) = file.items.filter(|expected| *expected != items) {
                let what = format!("it holds {items} items, and the manifest says {expected}: copy it again");
                return Err(at(what));
            }
            done += file.bytes;
            progress.at(done, total);
        }
        self.send(true).await?;
        progress.done();
        Ok(self.items)
    }

    // Sends a part, tried until it is answered.
    async fn send(&mut self, last: bool) -> Result<(), String> {
        let head = json!({ "import": self.import, "table": self.table, "part": self.part, "last": last, "at": self.at });
        let body = Bytes::from([head.to_string().as_bytes(), b"\n", &self.lines].concat());
        let (id, started) = (format!("{}-{}", self.import, self.part), clock::instant());
        let mut attempt = 0;
        loop {
            let timestamp = (clock::now() / 1000).to_string();
            let request = self
                .http
                .post(self.url.clone())
                .header("content-type", "application/x-ndjson")
                .header("webhook-signature", self.secret.sign(&id, &timestamp, &body))
                .header("webhook-id", &id)
                .header("webhook-timestamp", timestamp)
                .timeout(ANSWER_TIME_MAX)
                .body(body.clone());
            let (why, pause) = match answered(request).await {
                Ok((200, _, answer)) => {
                    serde_json::from_slice::<Answer>(&answer)
                        .map_err(|_| format!("{} answers as no Riacho server does", self.url))?;
                    self.trouble.is_over();
                    self.part += 1;
                    self.lines.clear();
                    return Ok(());
                }
                Ok((status, pause, answer)) => {
                    let problem = Problem::parse(&answer);
                    if !problem.may_retry(status) {
                        return Err(format!("the import is not complete: {}", problem.text(status)));
                    }
                    (problem.text(status), pause)
                }
                Err(err) => (format!("cannot reach {}: {}", self.url, cause(&err)), Duration::ZERO),
            };
            let wait = backoff(attempt, random()).max(pause);
            if started.elapsed() + wait > RETRY_FOR {
                return Err(format!(
                    "the import is not complete: {why}; gave up after {} s",
                    RETRY_FOR.as_secs()
                ));
            }
            self.trouble.is(format!("{why}; trying again for {} s", RETRY_FOR.as_secs()));
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }
}

async fn answered(request: reqwest::RequestBuilder) -> Result<(u16, Duration, Bytes), reqwest::Error> {
    let response = request.send().await?;
    let (status, pause) = (response.status().as_u16(), retry_after(response.headers()));
    Ok((status, pause, response.bytes().await?))
}

impl Lines {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let place = file.try_clone()?;
        let mut plain = BufReader::new(file);
        let packed = plain.fill_buf()?.starts_with(&GZIP);
        let input: Box<dyn BufRead> =
            if packed { Box::new(BufReader::new(MultiGzDecoder::new(plain))) } else { Box::new(plain) };
        Ok(Self { place, input, line: Vec::new(), number: 0 })
    }

    // The next line that holds an item; none at the end. The error names the line.
    fn next(&mut self) -> Result<Option<&[u8]>, String> {
        loop {
            self.number += 1;
            self.line.clear();
            let number = self.number;
            let at = |what: &str| format!("line {number}: {what}");
            let read = self.input.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut self.line);
            if read.map_err(|err| at(&err.to_string()))? == 0 {
                return Ok(None);
            }
            if self.line.len() as u64 > LINE_BYTES_MAX {
                return Err(at(&format!("it is longer than {} MiB", LINE_BYTES_MAX >> 20)));
            }
            if ION_MARKS.iter().any(|mark| self.line.starts_with(mark)) {
                return Err(at(&format!("it is {ION}")));
            }
            match Line::parse(&self.line).map_err(|what| at(&what))? {
                Some(Line::Item(_)) => break,
                Some(Line::Change { .. }) => return Err(at(&format!("it is of {INCREMENTAL}"))),
                None => {}
            }
        }
        Ok(Some(self.line.trim_ascii_end()))
    }
}

fn bytes(files: &[DataFile]) -> u64 {
    files.iter().map(|file| file.bytes).sum()
}

const GZIP: [u8; 2] = [0x1f, 0x8b];
// How texts and binaries of Amazon Ion begin.
const ION_MARKS: [&[u8]; 2] = [b"$ion_1_0", &[0xe0, 0x01, 0x00, 0xea]];
// With one more line it is below what the server takes at once.
const PART_BYTES: usize = 2 << 20;
const LINE_BYTES_MAX: u64 = 3 << 20;
// The server waits for a source for ten seconds, and then for its disk.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
const RETRY_FOR: Duration = Duration::from_secs(120);
