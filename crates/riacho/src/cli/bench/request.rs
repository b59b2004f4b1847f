//! The bytes of requests, made once: what differs between two publishes is written over a copy.

use super::{
    args::{NUMBER, PublishPlan, number_width},
    connect::Target,
    stamp::STAMP_BYTES,
};

/// A publish of so many events, without its path.
#[derive(Debug)]
pub(super) struct Form {
    /// All of the request behind the path.
    bytes: Vec<u8>,
    /// Where stamps go.
    stamps: Vec<usize>,
    /// Where numbers go, and of which event.
    numbers: Vec<(usize, u64)>,
    /// How many numbers there are.
    keys: u32,
}

impl Form {
    pub(super) fn new(plan: &PublishPlan, target: &Target, events: u32) -> Self {
        let (before, after) = plan.template.split_once("{event}").unwrap_or_default();
        let padding = "x".repeat(plan.size.saturating_sub(1 + STAMP_BYTES));
        let (mut body, mut stamps, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        for event in 0..u64::from(events) {
            let mut add = |body: &mut Vec<u8>, text: &str| {
                for (at, piece) in text.split(NUMBER).enumerate() {
                    if at > 0 {
                        numbers.push((body.len(), event));
                        body.resize(body.len() + number_width(plan.keys), b'0');
                    }
                    body.extend_from_slice(piece.as_bytes());
                }
            };
            add(&mut body, before);
            body.push(b'T');
            stamps.push(body.len());
            body.resize(body.len() + STAMP_BYTES, b'0');
            body.extend_from_slice(padding.as_bytes());
            add(&mut body, after);
            if plan.batch > 1 {
                body.push(b'\n');
            }
        }
        let mut head = format!(
            " HTTP/1.1\r\nhost: {}\r\ncontent-type: {}\r\ncontent-length: {}\r\n",
            target.host,
            plan.content_type,
            body.len()
        );
        for header in &plan.headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        stamps.iter_mut().for_each(|at| *at += head.len());
        numbers.iter_mut().for_each(|(at, _)| *at += head.len());
        Self { bytes: [head.as_bytes(), &body].concat(), stamps, numbers, keys: plan.keys }
    }

    /// Adds a request to `out`: its first line up to the path, the number of its first event of all, and a stamp for each.
    pub(super) fn write(
        &self,
        out: &mut Vec<u8>,
        line: &str,
        first: u64,
        stamps: impl Iterator<Item = [u8; STAMP_BYTES]>,
    ) {
        out.extend_from_slice(line.as_bytes());
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        for (at, stamp) in self.stamps.iter().zip(stamps) {
            let place = out.get_mut(start + at..start + at + STAMP_BYTES).unwrap_or_default();
            place.iter_mut().zip(stamp).for_each(|(to, from)| *to = from);
        }
        let width = number_width(self.keys);
        for (at, event) in &self.numbers {
            let mut number = (first + event) % u64::from(self.keys);
            for digit in out.get_mut(start + at..start + at + width).unwrap_or_default().iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
    }
}

/// A subscription. `skip` is a header that is left out.
pub(super) fn subscription(
    target: &Target,
    path: &str,
    accept: &str,
    headers: &[String],
    skip: Option<&str>,
) -> String {
    let mut text =
        format!("GET {}{path} HTTP/1.1\r\nhost: {}\r\naccept: {accept}\r\n", target.base, target.host);
    let name = |header: &str| header.split(':').next().unwrap_or_default().to_ascii_lowercase();
    for header in headers.iter().filter(|header| Some(name(header).as_str()) != skip) {
        text.push_str(header);
        text.push_str("\r\n");
    }
    text
}
