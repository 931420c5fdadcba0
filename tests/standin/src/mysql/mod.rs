//! As much of the MySQL protocol as an ordinary client needs to log in and to run a statement.

pub mod login;
pub mod packet;
pub mod session;
pub mod statement;

pub use login::{Greeting, Login, LoginError, greet};
pub use session::Session;
