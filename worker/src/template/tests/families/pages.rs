//! Samples of Ruby, PHP and static sites.

use super::{Sample, sample};
use crate::template::PackageManager::{Bundler, Composer};
use crate::template::{Family, Framework};

pub(super) static SAMPLES: [Sample; 8] = [
    Sample {
        framework: Some(Framework::Rails),
        manager: Some(Bundler),
        version: Some("3.3.1"),
        port: 3000,
        lines: &[
            "FROM ruby:3.3.1-slim AS build",
            "RUN RAILS_ENV=production SECRET_KEY_BASE_DUMMY=1 bundle exec rails assets:precompile",
            r#"CMD ["sh", "-c", "exec bundle exec puma -b tcp://0.0.0.0:$PORT"]"#,
            "RUN apt-get update && apt-get install --yes --no-install-recommends libpq5 && rm -rf /var/lib/apt/lists/*",
        ],
        ..sample(
            "Rails",
            Family::Ruby,
            &[
                ("Gemfile", "gem \"rails\"\ngem 'puma'\ngem 'pg'\n"),
                ("Gemfile.lock", ""),
                (".ruby-version", "ruby-3.3.1\n"),
                ("config/application.rb", ""),
                ("config.ru", ""),
                ("app/assets/a.css", ""),
                ("package.json", "{}"),
            ],
        )
    },
    Sample {
        framework: Some(Framework::Rack),
        manager: Some(Bundler),
        version: Some("3.2.0"),
        port: 3000,
        lines: &[r#"CMD ["sh", "-c", "exec bundle exec rackup -o 0.0.0.0 -p $PORT"]"#],
        ..sample(
            "Sinatra",
            Family::Ruby,
            &[("Gemfile", "ruby '3.2.0'\ngem 'sinatra'\n"), ("config.ru", "run App")],
        )
    },
    Sample {
        framework: Some(Framework::Laravel),
        manager: Some(Composer),
        version: Some("8.4"),
        lines: &[
            "FROM node:24-slim AS assets",
            "FROM php:8.4-apache",
            "COPY --from=assets /app/public/build ./public/build",
            "RUN sed -i 's#/var/www/html#/var/www/html/public#' /etc/apache2/sites-available/*.conf",
            r#"CMD ["apache2-foreground"]"#,
        ],
        ..sample(
            "Laravel",
            Family::Php,
            &[
                (
                    "composer.json",
                    r#"{"require":{"php":"^8.2","laravel/framework":"12","ext-pdo_pgsql":"*"}}"#,
                ),
                ("composer.lock", "{}"),
                ("public/index.php", "<?php"),
                ("package.json", r#"{"scripts":{"build":"vite build"}}"#),
            ],
        )
    },
    Sample {
        framework: Some(Framework::Symfony),
        manager: Some(Composer),
        version: Some("8.3"),
        lines: &["RUN mkdir -p var && chown -R 10001:10001 var"],
        ..sample(
            "Symfony with a document root in the Procfile",
            Family::Php,
            &[
                ("composer.json", r#"{"require":{"php":"~8.3","symfony/framework-bundle":"7"}}"#),
                ("Procfile", "web: vendor/bin/heroku-php-apache2 public/"),
            ],
        )
    },
    Sample {
        version: Some("8.4"),
        lines: &["COPY --from=build /app ./"],
        ..sample("plain PHP", Family::Php, &[("index.php", "<?php"), ("index.html", "")])
    },
    Sample {
        lines: &["COPY . /usr/share/nginx/html/", "USER 101:101"],
        ..sample("static site", Family::Static, &[("index.html", "<html>"), ("style.css", "")])
    },
    Sample {
        lines: &["COPY public/ /usr/share/nginx/html/"],
        ..sample("static site in a directory", Family::Static, &[("public/index.html", "<html>")])
    },
    Sample {
        lines: &["COPY . /usr/share/nginx/html/"],
        ..sample(
            "static site with tooling",
            Family::Static,
            &[("package.json", r#"{"devDependencies":{"prettier":"3"}}"#), ("index.html", "<html>")],
        )
    },
];
