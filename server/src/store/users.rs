//! The tables `users`, `access_tokens` and `sessions`: loaded whole at the start.

use super::{Store, StoreError, retried};
use crate::clock::EpochMs;
use crate::limits::MAX_ROWS_PER_STATEMENT;
use crate::people::{AccessToken, Hash, Limit, Role, Session, Used, User, Uses};
use crate::requests::hex;
use sqlx::any::{Any, AnyRow};
use sqlx::{QueryBuilder, Row};

impl Store {
    /// All of them.
    pub async fn load_users(&self) -> Result<Vec<User>, StoreError> {
        let sql = "SELECT name, role, password, target, disabled, gmt_create, gmt_modify FROM users";
        sqlx::query(sql).fetch_all(&self.pool).await?.iter().map(user).collect()
    }

    /// All of them, also those that have expired.
    pub async fn load_access_tokens(&self) -> Result<Vec<AccessToken>, StoreError> {
        let sql = "SELECT owner, name, hash, role, target, expires, used, gmt_create FROM access_tokens";
        sqlx::query(sql).fetch_all(&self.pool).await?.iter().map(token).collect()
    }

    /// All of them, also those that are over.
    pub async fn load_sessions(&self) -> Result<Vec<Session>, StoreError> {
        let sql = "SELECT hash, owner, used, expires, gmt_create FROM sessions";
        sqlx::query(sql).fetch_all(&self.pool).await?.iter().map(session).collect()
    }

    /// A new one.
    pub async fn insert_user(&self, user: &User) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO users (role, password, target, disabled, gmt_create, gmt_modify, name) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(user.role.name())
        .bind(user.password.as_deref())
        .bind(user.limit.as_ref().map(Limit::text))
        .bind(i64::from(user.disabled))
        .bind(user.created)
        .bind(user.modified)
        .bind(&*user.name)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The user as he is now. These sessions of his end with that.
    pub async fn update_user(&self, user: &User, ended: &[Hash]) -> Result<(), StoreError> {
        retried(|| self.update_user_once(user, ended)).await
    }

    async fn update_user_once(&self, user: &User, ended: &[Hash]) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query(
            "UPDATE users SET role = ?, password = ?, target = ?, disabled = ?, gmt_modify = ? WHERE name \
                = ?",
        )
        .bind(user.role.name())
        .bind(user.password.as_deref())
        .bind(user.limit.as_ref().map(Limit::text))
        .bind(i64::from(user.disabled))
        .bind(user.modified)
        .bind(&*user.name)
        .execute(&mut *transaction)
        .await?;
        for hash in ended {
            sqlx::query("DELETE FROM sessions WHERE hash = ?")
                .bind(hex(hash))
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// With all that is his.
    pub async fn delete_user(&self, name: &str) -> Result<(), StoreError> {
        retried(|| self.delete_user_once(name)).await
    }

    async fn delete_user_once(&self, name: &str) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        for sql in [
            "DELETE FROM users WHERE name = ?",
            "DELETE FROM access_tokens WHERE owner = ?",
            "DELETE FROM sessions WHERE owner = ?",
        ] {
            sqlx::query(sql).bind(name).execute(&mut *transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// A new one.
    pub async fn insert_access_token(&self, token: &AccessToken) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO access_tokens (owner, name, hash, role, target, expires, used, gmt_create) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&*token.owner)
        .bind(&*token.name)
        .bind(hex(&token.hash))
        .bind(token.role.name())
        .bind(token.limit.as_ref().map(Limit::text))
        .bind(token.expires)
        .bind(token.used.at())
        .bind(token.created)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// It opens nothing any more.
    pub async fn delete_access_token(&self, hash: &Hash) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM access_tokens WHERE hash = ?").bind(hex(hash)).execute(&self.pool).await?;
        Ok(())
    }

    /// A new one, for which these end.
    pub async fn insert_session(&self, session: &Session, ended: &[Hash]) -> Result<(), StoreError> {
        retried(|| self.insert_session_once(session, ended)).await
    }

    async fn insert_session_once(&self, session: &Session, ended: &[Hash]) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("INSERT INTO sessions (hash, owner, used, expires, gmt_create) VALUES (?, ?, ?, ?, ?)")
            .bind(hex(&session.hash))
            .bind(&*session.owner)
            .bind(session.used.at().unwrap_or(session.created))
            .bind(session.expires)
            .bind(session.created)
            .execute(&mut *transaction)
            .await?;
        for hash in ended {
            sqlx::query("DELETE FROM sessions WHERE hash = ?")
                .bind(hex(hash))
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// By their hashes in hex.
    pub async fn delete_sessions(&self, hashes: &[String]) -> Result<(), StoreError> {
        for some in hashes.chunks(MAX_ROWS_PER_STATEMENT) {
            retried(|| self.delete_some_sessions(some)).await?;
        }
        Ok(())
    }

    async fn delete_some_sessions(&self, hashes: &[String]) -> Result<(), StoreError> {
        let mut query = QueryBuilder::<Any>::new("DELETE FROM sessions WHERE hash IN (");
        let mut list = query.separated(", ");
        for hash in hashes {
            list.push_bind(hash.as_str());
        }
        query.push(")").build().persistent(self.pool.keeps_any()).execute(&self.pool).await?;
        Ok(())
    }

    /// When tokens and sessions were used last.
    pub async fn write_uses(&self, uses: &Uses) -> Result<(), StoreError> {
        if uses.tokens.is_empty() && uses.sessions.is_empty() {
            return Ok(());
        }
        // In one order, whoever else locks some of them.
        let mut tokens: Vec<_> = uses.tokens.iter().map(|(token, at)| (hex(&token.hash), *at)).collect();
        let mut sessions: Vec<_> =
            uses.sessions.iter().map(|(session, at)| (hex(&session.hash), *at)).collect();
        tokens.sort_unstable();
        sessions.sort_unstable();
        retried(|| self.write_sorted_uses(&tokens, &sessions)).await
    }

    async fn write_sorted_uses(
        &self,
        tokens: &[(String, EpochMs)],
        sessions: &[(String, EpochMs)],
    ) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        for (sql, rows) in [
            ("UPDATE access_tokens SET used = ? WHERE hash = ?", tokens),
            ("UPDATE sessions SET used = ? WHERE hash = ?", sessions),
        ] {
            for (hash, at) in rows {
                sqlx::query(sql).bind(*at).bind(hash.as_str()).execute(&mut *transaction).await?;
            }
        }
        Ok(transaction.commit().await?)
    }
}

fn user(row: &AnyRow) -> Result<User, StoreError> {
    Ok(User {
        name: row.try_get::<String, _>("name")?.into(),
        role: role(row)?,
        password: row.try_get("password")?,
        limit: limit(row)?,
        disabled: row.try_get::<i64, _>("disabled")? != 0,
        created: row.try_get("gmt_create")?,
        modified: row.try_get("gmt_modify")?,
    })
}

fn token(row: &AnyRow) -> Result<AccessToken, StoreError> {
    Ok(AccessToken {
        owner: row.try_get::<String, _>("owner")?.into(),
        name: row.try_get::<String, _>("name")?.into(),
        hash: hash(row)?,
        role: role(row)?,
        limit: limit(row)?,
        expires: row.try_get("expires")?,
        used: Used::kept(row.try_get("used")?),
        created: row.try_get("gmt_create")?,
    })
}

fn session(row: &AnyRow) -> Result<Session, StoreError> {
    Ok(Session {
        owner: row.try_get::<String, _>("owner")?.into(),
        hash: hash(row)?,
        expires: row.try_get("expires")?,
        used: Used::kept(Some(row.try_get::<EpochMs, _>("used")?)),
        created: row.try_get("gmt_create")?,
    })
}

fn role(row: &AnyRow) -> Result<Role, StoreError> {
    let text: String = row.try_get("role")?;
    Role::named(&text).ok_or(StoreError::Damaged { what: "a role", reason: text })
}

fn limit(row: &AnyRow) -> Result<Option<Limit>, StoreError> {
    Ok(row.try_get::<Option<String>, _>("target")?.as_deref().map(Limit::kept))
}

fn hash(row: &AnyRow) -> Result<Hash, StoreError> {
    let text: String = row.try_get("hash")?;
    let damaged = || StoreError::Damaged { what: "a secret's hash", reason: text.clone() };
    let mut hash = [0; 32];
    if text.len() != 2 * hash.len() || !text.is_ascii() {
        return Err(damaged());
    }
    for (n, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * n..2 * n + 2], 16).map_err(|_| damaged())?;
    }
    Ok(hash)
}
