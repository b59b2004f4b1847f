//! `check`: the settings in effect, or all that is wrong with them.

use super::{Env, Failure, print, settings::SettingArgs};
use clap::Args;
use serde_json::json;

#[derive(Args, Debug)]
pub(super) struct Check {
    /// Print JSON: `{"ok":true,"settings":[...],"streams":[...]}` or `{"ok":false,"problems":[{"at","what"}]}`.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: SettingArgs,
}

impl Check {
    pub(super) fn run(self, env: &Env) -> Result<(), Failure> {
        match (self.settings.load(env), self.json) {
            (Ok(config), false) => print(&config.effective),
            (Ok(config), true) => {
                let mut answer = config.effective.json();
                if let Some(fields) = answer.as_object_mut() {
                    fields.insert("ok".to_owned(), true.into());
                }
                print(format_args!("{answer}\n"))
            }
            (Err(problems), json) => {
                if json {
                    let list = problems.0.iter().map(|p| json!({ "at": p.at, "what": p.what }));
                    let answer = json!({ "ok": false, "problems": list.collect::<Vec<_>>() });
                    print(format_args!("{answer}\n"))?;
                }
                Err(Failure::Usage(problems.to_string()))
            }
        }
    }
}
