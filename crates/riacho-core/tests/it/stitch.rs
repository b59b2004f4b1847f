//! Changes of a stream and copies of tables: what is applied, what waits, what is held.

use riacho_core::{
    name::StreamName,
    source::{
        change::{Becomes, SourceChange},
        postgres::{
            lsn::Lsn,
            pgoutput::{Column, Datum, Message, Old, Relation, ReplicaIdentity},
            snapshot::Visibility,
            stitch::{Committed, Output, Said, Seen, Stitch, Wanted},
        },
    },
};

const INT: u32 = 23;
const TEXT: u32 = 25;

fn stream(table: &str) -> StreamName {
    StreamName::of_table(table).unwrap()
}

fn wanted(table: &str) -> Wanted {
    let (namespace, name, key) = ("public".into(), table.into(), vec!["id".into()]);
    Wanted { stream: stream(table), namespace, name, key, columns: None }
}

fn relation(id: u32, table: &str, columns: &[(&str, u32)]) -> Message<'static> {
    let column = |(name, type_oid): &(&str, u32)| Column {
        key: *name == "id",
        name: (*name).into(),
        type_oid: *type_oid,
        type_modifier: -1,
    };
    let (namespace, name) = ("public".into(), table.into());
    let columns = columns.iter().map(column).collect();
    let relation = Relation { id, namespace, name, replica_identity: ReplicaIdentity::Default, columns };
    Message::Relation { xid: None, relation }
}

fn seen(snapshot: &str, upto: u64) -> Seen {
    Seen { visibility: Visibility::parse(snapshot).unwrap(), upto: Lsn(upto) }
}

/// A stitch of tables `a` (relation 1) and `b` (2), that are told one transaction after the other.
struct Story {
    stitch: Stitch,
    lsn: u64,
}

impl Story {
    /// Tables and whether they are whole, shown or new.
    fn new(tables: &[(&str, char)]) -> Self {
        let mut stitch = Stitch::new(Lsn(100));
        for (table, state) in tables {
            match state {
                'w' => stitch.add_whole(wanted(table), "id:23,t:25,|id".to_owned(), None),
                's' => stitch.add_copying(wanted(table), true),
                _ => stitch.add_copying(wanted(table), false),
            }
        }
        let mut story = Self { stitch, lsn: 100 };
        for (id, table) in [(1, "a"), (2, "b")] {
            let told = story.stitch.handle(&relation(id, table, &[("id", INT), ("t", TEXT)]));
            assert_eq!(told, Output::Nothing);
        }
        story
    }

    fn commit(&mut self, xid: u32, messages: &[Message<'_>]) -> Committed {
        self.begin(xid);
        for message in messages {
            assert_eq!(self.stitch.handle(message), Output::Nothing);
        }
        self.end()
    }

    fn begin(&mut self, xid: u32) {
        let final_lsn = Lsn(self.lsn + 5);
        assert_eq!(self.stitch.handle(&Message::Begin { final_lsn, commit_time: 7, xid }), Output::Nothing);
    }

    fn end(&mut self) -> Committed {
        self.lsn += 10;
        let (commit_lsn, end_lsn) = (Lsn(self.lsn - 5), Lsn(self.lsn));
        match self.stitch.handle(&Message::Commit { commit_lsn, end_lsn, commit_time: 7 }) {
            Output::Committed(committed) => committed,
            other => panic!("{other:?}"),
        }
    }
}

fn row<'a>(relation: u32, id: &'a str, text: &'a str) -> Message<'a> {
    Message::Insert { xid: None, relation, new: vec![Datum::Text(id), Datum::Text(text)] }
}

fn shown(said: &[Said]) -> Vec<String> {
    let one = |said: &Said| match said {
        Said::Row(SourceChange { table, key, becomes }) => {
            let table = table.table().unwrap();
            match becomes {
                Becomes::Row(row) => format!("{table} {key} {row}"),
                Becomes::Merged { from, members } => format!("{table} {key} from {from} {members:?}"),
                Becomes::Gone => format!("{table} {key} gone"),
            }
        }
        Said::Emptied(table) => format!("{} empty", table.table().unwrap()),
    };
    said.iter().map(one).collect()
}

fn texts(committed: &[Committed]) -> Vec<(u32, Option<u64>, Vec<String>)> {
    committed.iter().map(|c| (c.xid, c.end.map(|end| end.0), shown(&c.said))).collect()
}

const A1: &str = r#"a 1 {"id":1,"t":"x"}"#;
const A2: &str = r#"a 2 {"id":2,"t":"x"}"#;
const B1: &str = r#"b 1 {"id":1,"t":"x"}"#;

#[test]
fn what_was_applied_before_is_left_out() {
    let mut story = Story::new(&[("a", 'w'), ("b", 'w')]);
    story.lsn = 80;
    assert_eq!(shown(&story.commit(5, &[row(1, "1", "x")]).said), [""; 0]);
    story.lsn = 100;
    let committed = story.commit(6, &[row(1, "1", "x"), row(2, "1", "x")]);
    assert_eq!((shown(&committed.said), committed.end), (vec![A1.to_owned(), B1.to_owned()], Some(Lsn(110))));
}

#[test]
fn a_new_table_waits_for_its_copy_and_others_do_not() {
    let mut story = Story::new(&[("a", 'w'), ("b", 'n')]);
    let committed = story.commit(10, &[row(1, "1", "x"), row(2, "1", "x")]);
    assert_eq!((shown(&committed.said), committed.end), (vec![A1.to_owned()], Some(Lsn(110))));
    story.commit(11, &[row(2, "2", "x")]);
    // The snapshot sees 10 and not 11, which began before it, nor 12.
    story.commit(12, &[row(2, "3", "x")]);
    assert!(story.stitch.waiting_bytes() > 0 && !story.stitch.is_held());
    let copy = (stream("b"), seen("11:12:11", 125), "id:23,t:25,|id".to_owned());
    let released = story.stitch.end_copies(vec![copy], true);
    assert_eq!((released.at_once, released.seen), (Vec::new(), None));
    let row = |id: u32| vec![format!(r#"b {id} {{"id":{id},"t":"x"}}"#)];
    // How far the stream is they do not tell: other tables are further by now.
    assert_eq!(texts(&released.then), [(11, None, row(2)), (12, None, row(3))]);
    assert_eq!(story.stitch.waiting_bytes(), 0);
}

#[test]
fn what_the_copy_saw_is_left_out_also_where_the_stream_tells_it_later() {
    let mut story = Story::new(&[("a", 'n'), ("b", 'w')]);
    let copy = (stream("a"), seen("20:20:", 115), "id:23,t:25,|id".to_owned());
    assert!(story.stitch.end_copies(vec![copy], false).then.is_empty());
    assert_eq!(shown(&story.commit(19, &[row(1, "1", "x"), row(2, "1", "x")]).said), [B1]);
    assert_eq!(shown(&story.commit(20, &[row(1, "1", "x")]).said), [A1]);
    // Behind all that it saw a number may have gone round.
    assert_eq!(shown(&story.commit(3, &[row(1, "2", "x")]).said), [A2]);
}

#[test]
fn tables_that_readers_have_wait_together_and_become_what_the_snapshot_saw_at_once() {
    let mut story = Story::new(&[("a", 's'), ("b", 'w')]);
    assert!(story.stitch.is_held());
    for (xid, id) in [(10, "1"), (11, "2")] {
        let held = story.commit(xid, &[row(1, id, "x"), row(2, id, "x")]);
        assert_eq!((held.said, held.end), (Vec::new(), None), "nothing of it is behind us");
    }
    // Nothing of ours, and so on.
    story.commit(12, &[]);
    story.commit(13, &[]);
    let (a, b) = (stream("a"), stream("b"));
    assert!(story.stitch.may_end([&a]) && !story.stitch.may_end([&b]));
    let copy = (a, seen("11:14:11", 140), "id:23,t:25,|id".to_owned());
    assert_eq!(story.stitch.reached(), Lsn(140));
    let released = story.stitch.end_copies(vec![copy.clone()], true);
    assert_eq!(shown(&released.at_once), [B1], "what `a` has of it is in the copy");
    let second = vec![A2.to_owned(), A2.replace('a', "b")];
    assert_eq!(texts(&released.then), [(10, Some(110), Vec::new()), (11, Some(140), second)]);
    assert_eq!(released.seen, Some(copy.1));
    assert_eq!((story.stitch.waiting_bytes(), story.stitch.is_held()), (0, false));
    assert_eq!(shown(&story.commit(15, &[row(1, "1", "x")]).said), [A1]);
}

#[test]
fn where_the_stream_is_not_there_yet_each_table_goes_on_by_itself() {
    let mut story = Story::new(&[("a", 's'), ("b", 'w')]);
    story.commit(10, &[row(1, "1", "x"), row(2, "1", "x")]);
    let copy = (stream("a"), seen("20:20:", 500), "id:23,t:25,|id".to_owned());
    let released = story.stitch.end_copies(vec![copy], false);
    assert_eq!((released.at_once.len(), released.seen), (0, None));
    assert_eq!(texts(&released.then), [(10, Some(110), vec![B1.to_owned()])]);
    assert_eq!(shown(&story.commit(11, &[row(1, "1", "x"), row(2, "1", "x")]).said), [B1]);
}

#[test]
fn an_altered_table_is_copied_anew_and_no_byte_waits_for_ever() {
    let mut story = Story::new(&[("a", 'w'), ("b", 'n')]);
    story.begin(10);
    let more = relation(1, "a", &[("id", INT), ("t", TEXT), ("more", INT)]);
    assert_eq!(story.stitch.handle(&more), Output::Altered(stream("a")));
    assert_eq!(story.stitch.handle(&row(2, "1", "x")), Output::Nothing);
    story.end();
    assert!(story.stitch.is_held() && story.stitch.waiting_bytes() > 0);
    // The key of `b` is gone: what waited for it goes with it.
    assert_eq!(story.stitch.handle(&relation(2, "b", &[("no", INT)])), Output::Altered(stream("b")));
    assert_eq!(story.stitch.waiting_bytes(), 0);
    assert_eq!(story.stitch.handle(&row(2, "1", "x")), Output::Nothing, "it has no shape now");
    // The same again is no alteration.
    assert_eq!(story.stitch.handle(&more), Output::Nothing);
}

#[test]
fn a_type_that_is_not_known_is_asked_for_once_and_other_tables_are_nothing() {
    let mut story = Story::new(&[("a", 'w'), ("b", 'w')]);
    let odd = relation(1, "a", &[("id", INT), ("t", 99_999)]);
    assert_eq!(story.stitch.handle(&odd), Output::Types(vec![99_999]));
    assert_eq!(story.stitch.handle(&relation(9, "other", &[("id", 99_999)])), Output::Nothing);
    assert_eq!(story.commit(10, &[row(9, "1", "x"), row(77, "1", "x")]).said, []);
}

#[test]
fn rows_that_are_told_in_part_name_where_the_rest_is() {
    let mut story = Story::new(&[("a", 'w'), ("b", 'w')]);
    let update = |old, new| Message::Update { xid: None, relation: 1, old, new };
    let (one, two) = (Datum::Text("1"), Datum::Text("2"));
    let moved = update(Some(Old::Key(vec![one, Datum::Null])), vec![two, Datum::Unchanged]);
    let full = update(Some(Old::Full(vec![two, Datum::Text("x")])), vec![two, Datum::Unchanged]);
    let delete = Message::Delete { xid: None, relation: 1, old: Old::Key(vec![two, Datum::Null]) };
    let said = story.commit(10, &[update(None, vec![one, Datum::Unchanged]), moved, full, delete]).said;
    let part = |id: u32| format!(r#"a {id} from 1 [("id", Some("{id}")), ("t", None)]"#);
    assert_eq!(shown(&said), [part(1), part(2), "a 1 gone".to_owned(), A2.to_owned(), "a 2 gone".to_owned()]);
    // Without a key in it a row cannot be told from others: all are read anew.
    story.begin(11);
    let keyless = Message::Delete { xid: None, relation: 1, old: Old::Key(vec![Datum::Null, Datum::Null]) };
    assert_eq!(story.stitch.handle(&keyless), Output::Altered(stream("a")));
    let truncate =
        Message::Truncate { xid: None, cascade: false, restart_identity: false, relations: vec![2, 77] };
    assert_eq!(story.stitch.handle(&truncate), Output::Nothing);
    assert!(story.end().said.is_empty(), "held, for `a` is copied");
}

#[test]
fn what_is_held_for_a_copy_that_does_not_begin_is_let_go_but_what_is_of_the_copy() {
    let mut story = Story::new(&[("a", 's'), ("b", 'w')]);
    story.commit(10, &[row(1, "1", "x"), row(2, "1", "x")]);
    story.commit(11, &[]);
    assert_eq!(story.stitch.copying(), [stream("a")]);
    assert_eq!(texts(&story.stitch.let_go()), [(10, Some(120), vec![B1.to_owned()])]);
    assert!(!story.stitch.is_held() && story.stitch.waiting_bytes() > 0);
    // Others go on, and another that is altered meanwhile holds none of them.
    assert_eq!(shown(&story.commit(12, &[row(1, "2", "x"), row(2, "1", "x")]).said), [B1]);
    story.stitch.begin_copy(&stream("b"));
    assert!(!story.stitch.is_held());
    let copy = |table: &str| (stream(table), seen("12:12:", 130), "id:23,t:25,|id".to_owned());
    let released = story.stitch.end_copies(vec![copy("a")], true);
    assert_eq!(texts(&released.then), [(12, None, vec![A2.to_owned()])], "10 is in the copy");
    assert_eq!((released.at_once.len(), released.seen), (0, None));
    story.stitch.end_copies(vec![copy("b")], true);
    assert_eq!(story.stitch.waiting_bytes(), 0);
    // All is well again: the next one holds the others.
    story.stitch.begin_copy(&stream("a"));
    assert!(story.stitch.is_held());
}
