//! Random histories with crashes, against plain vectors.

use super::{
    sim::{Random, SimDisk},
    support::{append, cases, event, name, open, read_all, select, settings, try_read_all},
};
use proptest::prelude::*;
use riacho::{
    error::ErrorKind,
    log::store::{Keep, Store},
};
use riacho_core::{event::Event, log::segment::Record, position::Offset};
use std::collections::HashMap;

#[derive(Clone, Debug)]
enum Step {
    /// Events by stream and size, in one frame.
    Append(Vec<(u8, u16)>),
    Reserve(u8),
    Empty(u8),
    Maintain(Keep),
    Close,
    Crash(u64),
    /// The power goes after so many more changes of the disk.
    PowerOff(u32),
    FailSync(u32),
    NoRoom(u64),
    Room,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => prop::collection::vec((0..6u8, 0..300u16), 1..6).prop_map(Step::Append),
        1 => any::<u8>().prop_map(Step::Reserve),
        1 => (0..6u8).prop_map(Step::Empty),
        3 => (prop::option::of(0..60u64), prop::option::of(0..3000u64), prop::option::of(0..20u64)).prop_map(
            |(age, bytes, events)| Step::Maintain(Keep {
                age: age.map(std::time::Duration::from_secs),
                bytes,
                events,
            })
        ),
        1 => Just(Step::Close),
        2 => any::<u64>().prop_map(Step::Crash),
        2 => (0..30u32).prop_map(Step::PowerOff),
        1 => (0..8u32).prop_map(Step::FailSync),
        1 => (0..6000u64).prop_map(Step::NoRoom),
        2 => Just(Step::Room),
    ]
}

/// What must be true of the log, by plain vectors.
#[derive(Default)]
struct Model {
    acked: Vec<Event>,
    /// The last frame whose append failed: it is there whole or not at all.
    doubtful: Vec<Event>,
    /// The highest floor ever told, by stream.
    floors: HashMap<String, Offset>,
    /// Streams that an unfinished record may have emptied.
    next: Offset,
}

impl Model {
    fn floor(&self, event: &Event) -> Offset {
        self.floors.get(event.stream.as_str()).copied().unwrap_or(0)
    }

    /// Compares a just opened log.
    fn compare_opened(&mut self, store: &Store, recovered: &riacho::log::store::Recovered) {
        let head = recovered.next - 1;
        assert!(recovered.next >= self.next, "offset {} would be used again", recovered.next);
        let found = read_all(&store.reader(), &["**"], 0, head);
        let there = self.doubtful.iter().filter(|e| found.contains(e)).count();
        let gone = self.doubtful.iter().filter(|e| e.offset <= store.trimmed(&e.stream)).count();
        assert!(there == 0 || there + gone == self.doubtful.len(), "a frame is there whole or not at all");
        if there > 0 {
            self.acked.append(&mut self.doubtful);
        }
        self.doubtful.clear();
        for stream in &recovered.streams {
            let told = self.floors.entry(stream.name.as_str().to_owned()).or_default();
            assert!(stream.trimmed <= (*told).max(head), "{} was never trimmed", stream.name);
            let of_stream: Vec<&Event> =
                self.acked.iter().filter(|e| e.stream == stream.name && e.offset > stream.trimmed).collect();
            assert_eq!(stream.count, of_stream.len() as u64, "{} at {}", stream.name, stream.trimmed);
            assert_eq!(stream.oldest, of_stream.first().map_or(0, |e| e.offset));
            assert!(stream.trimmed <= *told, "{}: {} is not above {told}", stream.name, stream.trimmed);
            // What was told trimmed may come back after a crash, but what files were removed for does not.
            *told = stream.trimmed;
        }
        self.compare(store, head);
        let tail: Vec<&Event> = found.iter().filter(|e| e.offset > recovered.tail_base).collect();
        assert_eq!(recovered.tail.iter().collect::<Vec<_>>(), tail, "the tail is all after its base");
        self.next = recovered.next;
    }

    fn compare(&self, store: &Store, head: Offset) {
        let want: Vec<Event> = self.acked.iter().filter(|e| e.offset > self.floor(e)).cloned().collect();
        assert_eq!(read_all(&store.reader(), &["**"], 0, head), want);
        for stream in 0..6 {
            let stream = stream_name(stream);
            let want: Vec<&Event> = want.iter().filter(|e| e.stream.as_str() == stream).collect();
            let found = read_all(&store.reader(), &[&stream], 0, head);
            assert_eq!(found.iter().collect::<Vec<_>>(), want);
            for n in [1, 3, 10] {
                let after = store.reader().before(&select(&[&stream]), head, n).unwrap();
                let last = want.iter().skip(want.len().saturating_sub(n)).copied();
                let found = read_all(&store.reader(), &[&stream], after, head);
                assert_eq!(found.iter().collect::<Vec<_>>(), last.collect::<Vec<_>>());
            }
        }
    }
}

fn stream_name(stream: u8) -> String {
    format!("s{}/{stream}", stream % 2)
}

fn run(steps: Vec<Step>, short_writes: bool) {
    let disk = SimDisk::default();
    if short_writes {
        disk.short_writes(100);
    }
    let (store, recovered) = open(&disk).unwrap();
    let mut model = Model { next: recovered.next, ..Model::default() };
    let mut store = Some(store);
    let mut sum = 0;
    for step in steps {
        let Some(open_store) = &mut store else { unreachable!("reopened below") };
        let mut dead = None;
        match step {
            Step::Append(sizes) => {
                let events: Vec<Event> = (model.next..)
                    .zip(&sizes)
                    .map(|(offset, (stream, size))| {
                        event(offset, &stream_name(*stream), &format!("{offset}.").repeat(*size as usize / 4))
                    })
                    .collect();
                let records: Vec<Record> = events.iter().cloned().map(Record::Event).collect();
                sum += 1;
                match open_store.append(&records) {
                    Ok(()) => {
                        model.next += events.len() as u64;
                        model.acked.extend(events);
                    }
                    Err(err) if matches!(err.kind(), ErrorKind::Full | ErrorKind::BadRequest) => {}
                    Err(_) => {
                        assert!(open_store.append(&records).is_err(), "a failed log takes nothing");
                        model.doubtful = events;
                        dead = Some(sum);
                    }
                }
            }
            Step::Reserve(n) => {
                let upto = model.next + u64::from(n);
                match open_store.append(&[Record::Reserve { upto }]) {
                    // Events may follow at any offset; those in memory have used these.
                    Ok(()) => model.next = upto + 1,
                    Err(err) if err.kind() == ErrorKind::Full => {}
                    Err(_) => dead = Some(sum),
                }
            }
            Step::Empty(stream) => {
                let stream = stream_name(stream);
                let upto = model.next - 1;
                let record = Record::Emptied { stream: name(&stream), upto, time: 0 };
                match open_store.append(&[record]) {
                    Ok(()) => {
                        model.floors.insert(stream, upto);
                    }
                    Err(err) if err.kind() == ErrorKind::Full => {}
                    Err(_) => {
                        model.floors.insert(stream, upto);
                        dead = Some(sum);
                    }
                }
            }
            Step::Maintain(keep) => {
                let now = model.next * 1000;
                loop {
                    match open_store.maintain(now, &|_| keep, Offset::MAX) {
                        Ok(done) => {
                            for (stream, floor) in done.floors {
                                model.floors.insert(stream.as_str().to_owned(), floor);
                            }
                            if !done.more {
                                break;
                            }
                        }
                        Err(_) => {
                            // What was trimmed but not told may stay trimmed.
                            for event in &model.acked {
                                let floor = open_store.trimmed(&event.stream);
                                model.floors.insert(event.stream.as_str().to_owned(), floor);
                            }
                            dead = Some(sum);
                            break;
                        }
                    }
                }
            }
            Step::Close => {
                let closing = store.take().unwrap();
                let next = model.next;
                // Opening meets the faults too.
                if closing.close(next, vec![]).is_ok()
                    && let Ok((reopened, recovered)) = open(&disk)
                {
                    assert_eq!((recovered.next, recovered.torn_bytes), (next, 0));
                    model.compare_opened(&reopened, &recovered);
                    store = Some(reopened);
                    continue;
                }
                dead = Some(sum);
            }
            Step::Crash(seed) => dead = Some(seed),
            Step::PowerOff(n) => disk.power_off_after(n),
            Step::FailSync(n) => disk.fail_sync_after(n),
            Step::NoRoom(bytes) => disk.room(Some(bytes)),
            Step::Room => {
                disk.room(None);
                if let Some(store) = &mut store {
                    match store.probe() {
                        Ok(()) => {}
                        Err(err) if err.kind() == ErrorKind::Full => panic!("there is room"),
                        Err(_) => dead = Some(sum),
                    }
                }
            }
        }
        if let (None, Some(store)) = (dead, &store) {
            // A disk without power cannot be written, but what is there is read.
            model.compare(store, model.next - 1);
        }
        if let Some(seed) = dead {
            drop(store.take());
            disk.room(None);
            let mut random = Random(seed);
            disk.crash(&mut random);
            // Opening may be cut off too.
            disk.power_off_after(random.below(40) as u32);
            if let Ok((half, _)) = open(&disk) {
                drop(half);
            }
            disk.crash(&mut random);
            let (reopened, recovered) = open(&disk).unwrap_or_else(|err| panic!("{}", err.chain()));
            model.compare_opened(&reopened, &recovered);
            store = Some(reopened);
        }
    }
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn no_history_loses_an_acknowledged_event(
        steps in prop::collection::vec(step(), 1..50),
        short_writes: bool,
    ) {
        run(steps, short_writes);
    }
}

#[test]
fn a_page_holds_at_least_one_event_and_about_as_much_as_asked() {
    let disk = SimDisk::default();
    let (mut store, _) = open(&disk).unwrap();
    let events: Vec<Event> = (1..100).map(|i| event(i, "a", &"x".repeat(100))).collect();
    append(&mut store, &events);
    let page = store.reader().read(&select(&["a"]), 0, 99, 1).unwrap();
    assert_eq!((page.events.len(), page.upto), (1, 1));
    let page = store.reader().read(&select(&["**"]), 0, 99, 450).unwrap();
    assert_eq!((page.events.len(), page.upto), (5, 5));
    assert_eq!(try_read_all(&store.reader(), &select(&["a"]), 3, 99, 1).unwrap().len(), 96);
    assert!(settings().segment_bytes_max < 100 * 100, "the pages span segments");
}
