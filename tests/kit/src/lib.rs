//! What every recipe is tried out with, on a real server: etcd, or handfast under its name.
//!
//! A recipe gives one small [`Recipe`]: set-up, one operation, what must hold afterwards. The kit
//! then lets every call of it go wrong in every way ([`troubles`]), drops it at every await
//! ([`dropped`]) and counts its calls ([`costs`]). Knows nothing of any recipe's insides.

#![forbid(unsafe_code)]
// Tests are what this is for: what is not as expected ends them.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

pub mod costs;
pub mod dropped;
pub mod proxy;
pub mod recipe;
pub mod relay;
pub mod server;
pub mod troubles;
pub mod util;

pub use recipe::{End, Recipe, World};

/// The tests of one [`Recipe`]: all that the kit can do to it, in a module of this name.
///
/// With `briefly` as a third word without the slow ones, which restart a server.
#[macro_export]
macro_rules! try_out {
    ($module:ident, $recipe:ty) => {
        $crate::try_out!($module, $recipe, {
            #[tokio::test]
            async fn compaction_and_restart_may_come_at_any_call() {
                $crate::troubles::every_upheaval::<$recipe>().await;
            }
        });
    };
    ($module:ident, $recipe:ty, briefly) => {
        $crate::try_out!($module, $recipe, {});
    };
    ($module:ident, $recipe:ty, { $($more:tt)* }) => {
        mod $module {
            use super::*;

            #[tokio::test]
            async fn any_reply_may_go_wrong() {
                $crate::troubles::every_reply::<$recipe>().await;
            }

            #[tokio::test]
            async fn the_session_may_end_at_any_call() {
                $crate::troubles::every_loss::<$recipe>().await;
            }

            #[tokio::test]
            async fn it_may_be_dropped_at_any_await() {
                $crate::dropped::at_every_await::<$recipe>().await;
            }

            $($more)*
        }
    };
}
