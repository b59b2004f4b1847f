//! What becomes of a PostgreSQL type in JSON.
//!
//! Types that are built in are known by their OID, which is the same on every server. All others are what the server's
//! catalogue says they are: [`Types`].

use std::collections::{HashMap, HashSet};

/// How values of a type become JSON; [`write`](super::value::write) has the rules.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `boolean`.
    Bool,
    /// `smallint`, `integer`, `bigint`, `oid`, `numeric`.
    Number,
    /// `real`, `double precision`.
    Float,
    /// `json`, `jsonb`.
    Json,
    /// `timestamp`.
    Timestamp,
    /// `timestamp with time zone`.
    Timestamptz,
    /// `bytea`.
    Bytea,
    /// All else: the text is the value. Enums and ranges among them.
    Text,
    /// An array of such elements, and what stands between two of them.
    Array(Box<Kind>, char),
    /// A composite type: names of its fields, each once, and what they are.
    Composite(Vec<(Box<str>, Kind)>),
}

impl Kind {
    /// The kind of a built-in type; none for OIDs from [`BUILT_IN_MAX`] on, which differ from server to server.
    pub fn of_oid(oid: u32) -> Option<Self> {
        if oid >= BUILT_IN_MAX {
            return None;
        }
        Some(match oid {
            16 => Self::Bool,
            20 | 21 | 23 | 26 | 1700 => Self::Number,
            700 | 701 => Self::Float,
            114 | 3802 => Self::Json,
            1114 => Self::Timestamp,
            1184 => Self::Timestamptz,
            17 => Self::Bytea,
            _ => match ARRAYS.binary_search_by_key(&oid, |(array, _)| *array) {
                Ok(at) => {
                    let element = ARRAYS.get(at).and_then(|(_, element)| Self::of_oid(*element));
                    let delimiter = if oid == BOX_ARRAY { ';' } else { ',' };
                    Self::Array(Box::new(element.unwrap_or(Self::Text)), delimiter)
                }
                Err(_) => Self::Text,
            },
        })
    }
}

/// Types that are not built in, by OID, as the server's catalogue describes them.
#[derive(Clone, Default, Debug)]
pub struct Types(HashMap<u32, Description>);

/// What the catalogue says of a type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Description {
    /// An array: no domain, and `typoutput` is `array_out`.
    Array {
        /// Its elements' type (`typelem`).
        element: u32,
        /// What stands between two elements: `typdelim` of the elements' type.
        delimiter: char,
    },
    /// A domain over a type (`typbasetype`).
    Domain(u32),
    /// A composite type: names and types of its attributes, in order, without dropped ones.
    Composite(Vec<(Box<str>, u32)>),
    /// Any other: enum, range, base type of an extension.
    Other,
}

impl Types {
    /// The statement that asks the catalogue for `oids` and all types they are made of, for [`Types::add`].
    pub fn query(oids: &[u32]) -> String {
        let oids: Vec<String> = oids.iter().map(u32::to_string).collect();
        QUERY.replace("$1", &oids.join(","))
    }

    /// Takes one row of [`Types::query`]'s answer. Rows come in the answer's order.
    ///
    /// Returns none, and takes nothing, where the row is none of that statement.
    pub fn add(&mut self, row: [Option<&str>; 5]) -> Option<()> {
        let [oid, form, of, delimiter, name] = row;
        let oid = oid?.parse().ok()?;
        let of = || of?.parse::<u32>().ok();
        let description = match form? {
            "array" => Description::Array { element: of()?, delimiter: delimiter?.chars().next()? },
            "domain" => Description::Domain(of()?),
            "composite" => Description::Composite(Vec::new()),
            "other" => Description::Other,
            "field" => {
                let Some(Description::Composite(fields)) = self.0.get_mut(&oid) else { return None };
                fields.push((name?.into(), of()?));
                return Some(());
            }
            _ => return None,
        };
        self.describe(oid, description);
        Some(())
    }

    /// Notes what a type is.
    pub fn describe(&mut self, oid: u32, description: Description) {
        self.0.insert(oid, description);
    }

    /// Whether the type is built in or was described.
    pub fn knows(&self, oid: u32) -> bool {
        oid < BUILT_IN_MAX || self.0.contains_key(&oid)
    }

    /// The kind of any type; text where nothing is known of it, or where it is made of itself or of more than
    /// [`KIND_DEPTH_MAX`] levels or [`KIND_PARTS_MAX`] types.
    pub fn kind(&self, oid: u32) -> Kind {
        self.resolve(oid, KIND_DEPTH_MAX, &mut KIND_PARTS_MAX.clone()).unwrap_or(Kind::Text)
    }

    fn resolve(&self, oid: u32, depth: usize, parts: &mut usize) -> Option<Kind> {
        *parts = parts.checked_sub(1)?;
        if let Some(kind) = Kind::of_oid(oid) {
            return Some(kind);
        }
        let depth = depth.checked_sub(1)?;
        match self.0.get(&oid) {
            Some(Description::Array { element, delimiter }) => {
                Some(Kind::Array(Box::new(self.resolve(*element, depth, parts)?), *delimiter))
            }
            Some(Description::Domain(base)) => self.resolve(*base, depth, parts),
            Some(Description::Composite(fields)) => {
                let mut names = HashSet::new();
                let mut field =
                    |(name, oid): &(Box<str>, u32)| Some((name.clone(), self.resolve(*oid, depth, parts)?));
                if !fields.iter().all(|(name, _)| names.insert(name)) {
                    return None;
                }
                fields.iter().map(&mut field).collect::<Option<_>>().map(Kind::Composite)
            }
            Some(Description::Other) | None => Some(Kind::Text),
        }
    }
}

/// OIDs below this one are written in PostgreSQL's source, and never change what they mean.
/// Spec: PostgreSQL, "OID Assignment".
pub const BUILT_IN_MAX: u32 = 10_000;

/// How many arrays, domains and composite types may be made of each other.
pub const KIND_DEPTH_MAX: usize = 16;

/// How many types one kind may be made of, each counted as often as it occurs.
pub const KIND_PARTS_MAX: usize = 4096;

// `UNION` ends it even where a type were made of itself. A domain over an array has the array's output function.
const QUERY: &str = "\
WITH RECURSIVE wanted (oid) AS (
  SELECT pg_catalog.unnest('{$1}'::pg_catalog.oid[])
  UNION
  SELECT part.oid FROM wanted JOIN pg_catalog.pg_type AS t USING (oid) CROSS JOIN LATERAL (
    SELECT t.typelem WHERE t.typtype = 'b' AND t.typoutput = 'pg_catalog.array_out'::pg_catalog.regproc
    UNION ALL SELECT t.typbasetype WHERE t.typtype = 'd'
    UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute AS a
      WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
  ) AS part (oid) WHERE part.oid >= 10000
), described (oid, form, of, delimiter, name, place) AS (
  SELECT t.oid,
    CASE WHEN t.typtype = 'd' THEN 'domain' WHEN t.typtype = 'c' THEN 'composite'
      WHEN t.typoutput = 'pg_catalog.array_out'::pg_catalog.regproc THEN 'array' ELSE 'other' END,
    CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.typelem END, e.typdelim::pg_catalog.text, NULL, 0
  FROM wanted JOIN pg_catalog.pg_type AS t USING (oid) LEFT JOIN pg_catalog.pg_type AS e ON e.oid = t.typelem
  UNION ALL
  SELECT t.oid, 'field', a.atttypid, NULL, a.attname::pg_catalog.text, a.attnum
  FROM wanted JOIN pg_catalog.pg_type AS t USING (oid) JOIN pg_catalog.pg_attribute AS a ON a.attrelid = t.typrelid
  WHERE t.typtype = 'c' AND a.attnum > 0 AND NOT a.attisdropped
)
SELECT oid, form, of, delimiter, name FROM described ORDER BY oid, place";

const BOX_ARRAY: u32 = 1020;

/// Built-in arrays and their elements, as in PostgreSQL 18, by the first. `int2vector` and `oidvector` are none: their
/// texts are `1 2 3`.
#[rustfmt::skip]
const ARRAYS: &[(u32, u32)] = &[
    (143, 142), (199, 114), (210, 71), (270, 75), (271, 5069), (272, 81), (273, 83),
    (629, 628), (651, 650), (719, 718), (775, 774), (791, 790), (1000, 16), (1001, 17),
    (1002, 18), (1003, 19), (1005, 21), (1006, 22), (1007, 23), (1008, 24), (1009, 25),
    (1010, 27), (1011, 28), (1012, 29), (1013, 30), (1014, 1042), (1015, 1043), (1016, 20),
    (1017, 600), (1018, 601), (1019, 602), (1020, 603), (1021, 700), (1022, 701), (1027, 604),
    (1028, 26), (1034, 1033), (1040, 829), (1041, 869), (1115, 1114), (1182, 1082), (1183, 1083),
    (1185, 1184), (1187, 1186), (1231, 1700), (1263, 2275), (1270, 1266), (1561, 1560), (1563, 1562),
    (2201, 1790), (2207, 2202), (2208, 2203), (2209, 2204), (2210, 2205), (2211, 2206), (2287, 2249),
    (2949, 2970), (2951, 2950), (3221, 3220), (3643, 3614), (3644, 3642), (3645, 3615), (3735, 3734),
    (3770, 3769), (3807, 3802), (3905, 3904), (3907, 3906), (3909, 3908), (3911, 3910), (3913, 3912),
    (3927, 3926), (4073, 4072), (4090, 4089), (4097, 4096), (4192, 4191), (5039, 5038), (6150, 4451),
    (6151, 4532), (6152, 4533), (6153, 4534), (6155, 4535), (6157, 4536),
];
