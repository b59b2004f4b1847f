//! Measures durable appends: `cargo run --release --example append [DIR]`.

#![expect(clippy::print_stdout, reason = "the numbers are what it is for")]

use riacho::{
    clock,
    log::store::{Store, StoreSettings, disk::StdDisk},
};
use riacho_core::{
    event::{Data, Event},
    log::segment::Record,
    name::{Selection, StreamName},
};
use std::{sync::Arc, time::Duration};

fn main() -> anyhow::Result<()> {
    let parent = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let dir = parent.join(format!("riacho-append-{}", std::process::id()));
    let streams: Vec<StreamName> =
        (0..1000).map(|i| StreamName::parse(&format!("stream/{i}"))).collect::<Result<_, _>>()?;
    let open =
        || Store::open(Arc::new(StdDisk::new(&dir)?), settings(), [1, 2], 1).map_err(anyhow::Error::from);
    let (mut store, _) = open()?;
    let mut offset = 0;
    for (per_frame, frames) in [(1, 20_000), (64, 20_000)] {
        let begun = clock::instant();
        for _ in 0..frames {
            let records: Vec<Record> = (0..per_frame)
                .map(|_| {
                    offset += 1;
                    let stream = streams.get(offset as usize % streams.len()).cloned();
                    let stream = stream.unwrap_or_else(|| unreachable!("less than the length"));
                    let data = Data::text("x".repeat(100));
                    Record::Event(Event {
                        offset,
                        time: offset,
                        stream,
                        event_type: None,
                        data,
                        change: None,
                    })
                })
                .collect();
            store.append(&records)?;
        }
        let seconds = begun.elapsed().as_secs_f64();
        println!("{per_frame:3} events a frame: {:8.0} events/s", f64::from(per_frame * frames) / seconds);
    }
    drop(store);
    let begun = clock::instant();
    let (store, recovered) = open()?;
    println!("open: {:?} for {} bytes", begun.elapsed(), store.reader().bytes());
    let reader = store.reader();
    let begun = clock::instant();
    for stream in &streams {
        let selection = Selection::one(stream.clone());
        let after = reader.before(&selection, recovered.next - 1, 100)?;
        anyhow::ensure!(reader.read(&selection, after, recovered.next - 1, 1 << 20)?.events.len() == 100);
    }
    println!("last 100 of a stream: {:8.0} reads/s", streams.len() as f64 / begun.elapsed().as_secs_f64());
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

fn settings() -> StoreSettings {
    StoreSettings {
        segment_bytes_max: 64 << 20,
        frame_bytes_max: 16 << 20,
        tail_bytes_max: 64 << 20,
        keys_age: Duration::from_secs(600),
        keys_max: 100_000,
        streams_max: 200_000,
    }
}
