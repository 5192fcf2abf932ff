//! How requests are listed; and those of one user with the hosts that they were for, for those who do
//! not see all of them.

use super::requests::{SUMMARY, Summary, summary};
use super::{Store, StoreError, from_json};
use crate::clock::EpochMs;
use crate::requests::Target;
use sqlx::any::{Any, AnyRow};
use sqlx::{QueryBuilder, Row};

/// What a user asked for.
#[derive(Debug, Clone, Copy)]
pub struct Own<'a> {
    pub who: &'a str,
    /// Before then the name was somebody else's.
    pub since: EpochMs,
}

impl Own<'_> {
    pub(super) fn narrow(self, query: &mut QueryBuilder<Any>, word: &str) {
        query.push(word).push(" who = ").push_bind(self.who.to_owned());
        query.push(" AND gmt_create >= ").push_bind(self.since);
    }
}

impl Store {
    /// As [`Store::list_requests`], of these alone and with their hosts.
    pub async fn list_own_requests(
        &self,
        limit: u64,
        before: Option<&str>,
        own: Own<'_>,
    ) -> Result<Option<Vec<(Summary, Vec<Target>)>>, StoreError> {
        let Some(mut query) = self.older_requests(&format!("{SUMMARY}, targets"), before).await? else {
            return Ok(None);
        };
        own.narrow(&mut query, " AND");
        let rows = self.newest_requests(query, limit).await?;
        rows.iter().map(with_targets).collect::<Result<_, _>>().map(Some)
    }

    /// How many requests there are, or how many of these.
    pub async fn count_requests(&self, own: Option<Own<'_>>) -> Result<i64, StoreError> {
        let mut query = QueryBuilder::<Any>::new("SELECT COUNT(*) AS n FROM requests");
        if let Some(own) = own {
            own.narrow(&mut query, " WHERE");
        }
        Ok(query.build().persistent(self.pool.keeps_any()).fetch_one(&self.pool).await?.try_get("n")?)
    }

    /// Asks for what was made before the request, for more conditions to follow.
    pub(super) async fn older_requests(
        &self,
        columns: &str,
        before: Option<&str>,
    ) -> Result<Option<QueryBuilder<Any>>, StoreError> {
        let (mut created, mut id) = (EpochMs::MAX, String::new());
        if let Some(before) = before {
            let row = sqlx::query("SELECT gmt_create FROM requests WHERE id = ?")
                .bind(before)
                .fetch_optional(&self.pool)
                .await?;
            let Some(row) = row else { return Ok(None) };
            (created, id) = (row.try_get("gmt_create")?, before.to_owned());
        }
        let mut query =
            QueryBuilder::<Any>::new(format!("SELECT {columns} FROM requests WHERE (gmt_create < "));
        query.push_bind(created).push(" OR (gmt_create = ").push_bind(created);
        query.push(" AND id < ").push_bind(id).push("))");
        Ok(Some(query))
    }

    pub(super) async fn newest_requests(
        &self,
        mut query: QueryBuilder<Any>,
        limit: u64,
    ) -> Result<Vec<AnyRow>, StoreError> {
        query.push(" ORDER BY gmt_create DESC, id DESC LIMIT ");
        query.push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
        Ok(query.build().persistent(self.pool.keeps_any()).fetch_all(&self.pool).await?)
    }
}

fn with_targets(row: &AnyRow) -> Result<(Summary, Vec<Target>), StoreError> {
    Ok((summary(row)?, from_json("targets", &row.try_get::<String, _>("targets")?)?))
}
