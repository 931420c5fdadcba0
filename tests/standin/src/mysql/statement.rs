//! Statements, as far as tests need them: enough for a client to see that it is served.

use std::time::Duration;

use super::session::Facts;

/// The answer to a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done.
    Ok,
    /// Not done: code and message.
    Error(u16, String),
    /// A result.
    Rows {
        /// The names of the columns.
        columns: Vec<String>,
        /// The rows; `None` is NULL.
        rows: Vec<Vec<Option<String>>>,
    },
}

/// Answers a statement. A `SELECT` has one row with the literals that it asks for.
pub async fn answer(text: &str, facts: &Facts, in_transaction: &mut bool) -> Answer {
    let text = text.trim().trim_end_matches(';').trim();
    let upper = text.to_ascii_uppercase();
    match upper.as_str() {
        "BEGIN" | "START TRANSACTION" => *in_transaction = true,
        "COMMIT" | "ROLLBACK" => *in_transaction = false,
        "SHOW SESSION_STATES" if !facts.signed => {
            return Answer::Error(
                1105,
                "there is no certificate to sign session tokens with".to_owned(),
            );
        }
        "SHOW SESSION_STATES" => {
            return row(&[
                ("Session_states", Some("{}")),
                ("Session_token", Some("{\"username\":\"root\"}")),
            ]);
        }
        "SHOW STATUS LIKE 'SSL_CIPHER'" | "SHOW SESSION STATUS LIKE 'SSL_CIPHER'" => {
            let cipher = facts.cipher.as_deref().unwrap_or_default();
            return row(&[("Variable_name", Some("Ssl_cipher")), ("Value", Some(cipher))]);
        }
        _ => {}
    }
    let Some(items) = upper.strip_prefix("SELECT ").and_then(|_| text.get(7..)) else {
        return Answer::Ok;
    };
    let mut columns = Vec::new();
    let mut values = Vec::new();
    for item in without_limit(items).split(',').map(str::trim) {
        columns.push(item.to_owned());
        values.push(value(item, facts).await);
    }
    Answer::Rows {
        columns,
        rows: vec![values],
    }
}

fn without_limit(items: &str) -> &str {
    let end = items.to_ascii_uppercase().rfind(" LIMIT ");
    end.and_then(|end| items.get(..end)).unwrap_or(items)
}

async fn value(item: &str, facts: &Facts) -> Option<String> {
    let upper = item.to_ascii_uppercase();
    let argument = |name: &str| upper.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
    if let Some(seconds) = argument("SLEEP").and_then(|text| text.parse::<f64>().ok()) {
        let duration = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        tokio::time::sleep(duration).await;
        return Some("0".to_owned());
    }
    match upper.as_str() {
        "DATABASE()" | "NULL" => None,
        "USER()" | "CURRENT_USER()" => Some(format!("{}@%", facts.user)),
        _ => Some(item.trim_matches(['\'', '"']).to_owned()),
    }
}

fn row(cells: &[(&str, Option<&str>)]) -> Answer {
    Answer::Rows {
        columns: cells.iter().map(|(name, _)| (*name).to_owned()).collect(),
        rows: vec![
            cells
                .iter()
                .map(|(_, value)| value.map(ToOwned::to_owned))
                .collect(),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn asked(text: &str, in_transaction: &mut bool) -> Answer {
        let facts = Facts {
            user: "root".to_owned(),
            cipher: Some("TLS_X".to_owned()),
            signed: false,
        };
        answer(text, &facts, in_transaction).await
    }

    #[tokio::test]
    async fn statements_have_the_answers_that_clients_look_at() {
        let mut open = false;
        let one = |name: &str, value: Option<&str>| row(&[(name, value)]);
        assert_eq!(asked("SELECT 1", &mut open).await, one("1", Some("1")));
        assert_eq!(asked("select 'a';", &mut open).await, one("'a'", Some("a")));
        assert_eq!(
            asked("select DATABASE(), USER() limit 1", &mut open).await,
            row(&[("DATABASE()", None), ("USER()", Some("root@%"))])
        );
        assert_eq!(
            asked("SHOW STATUS LIKE 'Ssl_cipher'", &mut open).await,
            row(&[("Variable_name", Some("Ssl_cipher")), ("Value", Some("TLS_X"))])
        );
        assert!(matches!(
            asked("SHOW SESSION_STATES", &mut open).await,
            Answer::Error(1105, _)
        ));
        assert_eq!(asked("SET NAMES utf8", &mut open).await, Answer::Ok);
        assert!(!open);
        assert_eq!(asked("begin", &mut open).await, Answer::Ok);
        assert!(open);
        assert_eq!(asked("COMMIT", &mut open).await, Answer::Ok);
        assert!(!open);
    }
}
