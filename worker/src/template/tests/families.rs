//! One sample tree for every family, package manager and framework: what is detected, and the lines that
//! make the difference.

use super::{dockerfile, plan_of};
use crate::template::PackageManager::{
    Bundler, Cargo, Composer, GoModules, Gradle, Maven, Npm, Nuget, Pip, Pnpm, Poetry, Uv, Yarn,
};
use crate::template::{Family, Framework, PackageManager};

/// A sample and what is expected of it.
pub(super) struct Sample {
    pub(super) name: &'static str,
    pub(super) files: &'static [(&'static str, &'static str)],
    family: Family,
    framework: Option<Framework>,
    manager: Option<PackageManager>,
    version: Option<&'static str>,
    port: u16,
    lines: &'static [&'static str],
}

const fn sample(
    name: &'static str,
    family: Family,
    files: &'static [(&'static str, &'static str)],
) -> Sample {
    Sample { name, files, family, framework: None, manager: None, version: None, port: 8080, lines: &[] }
}

pub(super) const SAMPLES: [Sample; 36] = [
    Sample {
        framework: Some(Framework::Flask),
        manager: Some(Pip),
        version: Some("3.12.4"),
        port: 8000,
        lines: &[
            "FROM python:3.12.4-slim AS build",
            "RUN /venv/bin/pip install -r requirements.txt",
            r#"CMD ["gunicorn", "app:app"]"#,
            "RUN pip --python /venv/bin/python install gunicorn",
        ],
        ..sample(
            "Flask with pip",
            Family::Python,
            &[
                ("requirements.txt", "Flask==3.0\n"),
                ("app.py", "from flask import Flask\napp = Flask(__name__)\n"),
                (".python-version", "3.12.4\n"),
            ],
        )
    },
    Sample {
        framework: Some(Framework::Flask),
        manager: Some(Pip),
        version: Some("3.14"),
        port: 8000,
        lines: &[r#"CMD ["gunicorn", "shop:create_app()"]"#],
        ..sample(
            "Flask factory",
            Family::Python,
            &[
                ("requirements.txt", "flask\ngunicorn\n"),
                ("shop/__init__.py", "def create_app():\n    return Flask(__name__)\n"),
            ],
        )
    },
    Sample {
        framework: Some(Framework::FastApi),
        manager: Some(Uv),
        version: Some("3.12"),
        port: 8000,
        lines: &[
            "COPY pyproject.toml uv.lock ./",
            "RUN /opt/uv/bin/uv sync --locked --no-dev --no-install-project",
            r#"CMD ["sh", "-c", "exec uvicorn main:api --host 0.0.0.0 --port $PORT"]"#,
        ],
        ..sample(
            "FastAPI with uv",
            Family::Python,
            &[
                (
                    "pyproject.toml",
                    "[project]\nname='x'\nrequires-python='>=3.11,<3.13'\ndependencies=['fastapi','uvicorn']\n",
                ),
                ("uv.lock", "version = 1\n"),
                ("src/main.py", "api: FastAPI = FastAPI()\n"),
            ],
        )
    },
    Sample {
        framework: Some(Framework::Django),
        manager: Some(Poetry),
        version: Some("3.14"),
        port: 8000,
        lines: &[
            "RUN /opt/poetry/bin/poetry install --only main --no-root",
            r#"CMD ["sh", "-c", "exec gunicorn --bind 0.0.0.0:$PORT shop.wsgi"]"#,
            "RUN SECRET_KEY=unused DJANGO_SECRET_KEY=unused python manage.py collectstatic --noinput",
        ],
        ..sample(
            "Django with Poetry",
            Family::Python,
            &[
                ("pyproject.toml", "[tool.poetry.dependencies]\npython='^3.11'\ndjango='^5'\n"),
                ("poetry.lock", ""),
                ("manage.py", "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n"),
                ("shop/settings.py", "STATIC_ROOT = 'static'\n"),
                ("shop/wsgi.py", ""),
            ],
        )
    },
    Sample {
        manager: Some(Pip),
        version: Some("3.11.9"),
        port: 8000,
        lines: &[r#"CMD ["sh", "-c", "exec python -m bot --port $PORT"]"#, "RUN /venv/bin/pip install ."],
        ..sample(
            "Python package with a Procfile",
            Family::Python,
            &[
                ("pyproject.toml", "[project]\nname='bot'\n"),
                ("runtime.txt", "python-3.11.9\n"),
                ("Procfile", "worker: x\nweb: python -m bot --port $PORT\n"),
            ],
        )
    },
    Sample {
        manager: Some(Pip),
        version: Some("3.14"),
        port: 8000,
        lines: &[r#"CMD ["python", "main.py"]"#],
        ..sample("Python script", Family::Python, &[("main.py", "print(1)\n")])
    },
    Sample {
        manager: Some(Npm),
        version: Some("20.11.0"),
        port: 3000,
        lines: &[
            "FROM node:20.11.0-slim AS build",
            "COPY package.json package-lock.json ./",
            "RUN npm ci --no-audit --no-fund",
            r#"CMD ["node", "server.js"]"#,
        ],
        ..sample(
            "npm server",
            Family::Node,
            &[
                ("package.json", r#"{"scripts":{"start":"node server.js"}}"#),
                ("package-lock.json", "{}"),
                (".nvmrc", "v20.11.0\n"),
            ],
        )
    },
    Sample {
        manager: Some(Pnpm),
        version: Some("22"),
        port: 3000,
        lines: &[
            "RUN npm install --global pnpm@9.1.0",
            "RUN pnpm install --frozen-lockfile",
            "RUN pnpm run build",
            r#"CMD ["npm", "start"]"#,
        ],
        ..sample(
            "pnpm server with a start script of several commands",
            Family::Node,
            &[
                (
                    "package.json",
                    r#"{"packageManager":"pnpm@9.1.0+sha256.aa","engines":{"node":"22.x"},
                        "scripts":{"build":"tsc","start":"migrate && node x.js"}}"#,
                ),
                ("pnpm-lock.yaml", ""),
            ],
        )
    },
    Sample {
        manager: Some(Yarn),
        version: Some("24"),
        port: 3000,
        lines: &["RUN yarn install --frozen-lockfile", r#"CMD ["node", "lib/index.js"]"#],
        ..sample(
            "classic Yarn with main",
            Family::Node,
            &[
                ("package.json", r#"{"main":"./lib/index.js","engines":{"node":">=18"}}"#),
                ("yarn.lock", ""),
                ("lib/index.js", ""),
            ],
        )
    },
    Sample {
        manager: Some(Yarn),
        version: Some("22"),
        port: 3000,
        lines: &[
            "RUN YARN_NODE_LINKER=node-modules yarn install --immutable",
            "COPY .yarn ./.yarn",
            r#"CMD ["node", "index.js"]"#,
        ],
        ..sample(
            "modern Yarn",
            Family::Node,
            &[
                ("package.json", r#"{"packageManager":"yarn@4.1.0"}"#),
                (".nvmrc", "lts/jod\n"),
                (".yarn/releases/yarn.cjs", ""),
                ("yarn.lock", ""),
                ("index.js", ""),
            ],
        )
    },
    Sample {
        framework: Some(Framework::NextJs),
        manager: Some(Npm),
        version: Some("24"),
        port: 3000,
        lines: &[
            "ENV HOSTNAME=0.0.0.0 NEXT_TELEMETRY_DISABLED=1",
            r#"CMD ["sh", "-c", "exec next start -p $PORT"]"#,
        ],
        ..sample(
            "Next.js",
            Family::Node,
            &[(
                "package.json",
                r#"{"dependencies":{"next":"15"},"scripts":{"build":"next build","start":"next start"}}"#,
            )],
        )
    },
    Sample {
        framework: Some(Framework::NextJs),
        manager: Some(Npm),
        version: Some("24"),
        port: 3000,
        lines: &[
            "COPY --from=build --chown=10001:10001 /app/.next/standalone ./",
            "COPY --from=build /app/public ./public",
            r#"CMD ["node", "server.js"]"#,
        ],
        ..sample(
            "Next.js standalone",
            Family::Node,
            &[
                ("package.json", r#"{"dependencies":{"next":"15"},"scripts":{"build":"next build"}}"#),
                ("next.config.mjs", "export default { output: 'standalone' }"),
                ("public/logo.svg", ""),
            ],
        )
    },
    Sample {
        framework: Some(Framework::SinglePage),
        manager: Some(Npm),
        version: Some("24"),
        lines: &[
            "FROM nginxinc/nginx-unprivileged:stable-alpine",
            "COPY --from=build /app/dist/ /usr/share/nginx/html/",
        ],
        ..sample(
            "single-page application",
            Family::Node,
            &[
                (
                    "package.json",
                    r#"{"devDependencies":{"vite":"6"},"scripts":{"build":"vite build","dev":"vite"}}"#,
                ),
                ("index.html", "<html>"),
            ],
        )
    },
    Sample {
        framework: Some(Framework::SpringBoot),
        manager: Some(Maven),
        version: Some("17"),
        lines: &[
            "FROM maven:3.9-eclipse-temurin-17 AS build",
            "FROM eclipse-temurin:17-jre",
            "RUN mvn --batch-mode --quiet dependency:go-offline",
            r#"CMD ["java", "-jar", "/app/app.jar"]"#,
        ],
        ..sample(
            "Spring Boot with Maven",
            Family::Java,
            &[
                ("pom.xml", "<project><java.version>17</java.version>spring-boot-maven-plugin</project>"),
                ("src/main/java/A.java", "class A {}"),
            ],
        )
    },
    Sample {
        framework: Some(Framework::Quarkus),
        manager: Some(Maven),
        version: Some("21"),
        lines: &["RUN cp -r target/quarkus-app /out", r#"CMD ["java", "-jar", "/app/quarkus-run.jar"]"#],
        ..sample(
            "Quarkus with Maven",
            Family::Java,
            &[("pom.xml", "<x>quarkus-maven-plugin</x><release>19</release>")],
        )
    },
    Sample {
        framework: Some(Framework::SpringBoot),
        manager: Some(Maven),
        version: Some("8"),
        lines: &["RUN mvn --batch-mode -DskipTests --projects web --also-make package"],
        ..sample(
            "Maven modules",
            Family::Java,
            &[
                ("pom.xml", "<java.version>1.8</java.version><module>core</module><module>web</module>"),
                ("core/pom.xml", ""),
                ("web/pom.xml", "spring-boot-maven-plugin"),
            ],
        )
    },
    Sample {
        manager: Some(Maven),
        version: Some("21"),
        lines: &[r#"CMD ["java", "-jar", "/app/app.jar"]"#],
        ..sample(
            "Kotlin with Maven",
            Family::Kotlin,
            &[("pom.xml", "<project/>"), ("src/main/kotlin/A.kt", "fun main() {}")],
        )
    },
    Sample {
        framework: Some(Framework::SpringBoot),
        manager: Some(Gradle),
        version: Some("21"),
        lines: &["FROM gradle:9-jdk21 AS build", "RUN gradle --no-daemon bootJar"],
        ..sample(
            "Spring Boot with Gradle",
            Family::Java,
            &[
                ("build.gradle", "id 'org.springframework.boot'\nJavaLanguageVersion.of(21)"),
                ("settings.gradle", ""),
            ],
        )
    },
    Sample {
        framework: Some(Framework::Ktor),
        manager: Some(Gradle),
        version: Some("17"),
        lines: &[
            "FROM eclipse-temurin:17-jdk AS build",
            "COPY gradle ./gradle",
            "RUN sh ./gradlew --no-daemon buildFatJar",
        ],
        ..sample(
            "Ktor with the Gradle wrapper",
            Family::Kotlin,
            &[
                ("build.gradle.kts", "id(\"io.ktor.plugin\")\njvmToolchain(17)"),
                ("gradlew", ""),
                ("gradle/wrapper/gradle-wrapper.jar", ""),
                ("src/main/kotlin/A.kt", "fun main() {}"),
            ],
        )
    },
    Sample {
        manager: Some(Gradle),
        version: Some("11"),
        lines: &["RUN gradle --no-daemon installDist", r#"CMD ["/app/bin/start"]"#],
        ..sample(
            "Gradle application plugin",
            Family::Java,
            &[("build.gradle", "plugins { id 'application' }\nsourceCompatibility = '11'")],
        )
    },
    Sample {
        manager: Some(GoModules),
        version: Some("1.24"),
        lines: &[
            "FROM golang:1.24-alpine AS build",
            "COPY go.mod go.sum ./",
            "RUN go mod download",
            r#"RUN go build -trimpath -ldflags="-s -w" -o /out/app ."#,
        ],
        ..sample(
            "Go at the root",
            Family::Go,
            &[
                ("go.mod", "module example.com/x\n\ngo 1.23\ntoolchain go1.24.1\n"),
                ("go.sum", ""),
                ("server.go", "package main\n"),
            ],
        )
    },
    Sample {
        manager: Some(GoModules),
        version: Some("1.27"),
        lines: &[
            r#"RUN go build -trimpath -ldflags="-s -w" -o /out/app ./cmd/web"#,
            r#"CMD ["sh", "-c", "exec /usr/local/bin/app --port $PORT"]"#,
        ],
        ..sample(
            "Go commands with a Procfile, vendored",
            Family::Go,
            &[
                ("go.mod", "module x\n"),
                ("vendor/modules.txt", ""),
                ("cmd/web/main.go", "package main\n"),
                ("cmd/job/main.go", "package main\n"),
                ("Procfile", "web: bin/web --port $PORT\n"),
            ],
        )
    },
    Sample {
        manager: Some(Cargo),
        version: Some("1.90"),
        lines: &[
            "FROM rust:1.90-slim-trixie AS build",
            "COPY Cargo.toml Cargo.lock ./",
            "RUN mkdir /out && cp target/release/shop /out/app",
            r#"CMD ["/usr/local/bin/app"]"#,
        ],
        ..sample(
            "Rust package",
            Family::Rust,
            &[
                ("Cargo.toml", "[package]\nname = 'shop'\n"),
                ("Cargo.lock", ""),
                ("src/main.rs", "fn main() {}"),
                ("rust-toolchain.toml", "[toolchain]\nchannel = '1.90'\n"),
            ],
        )
    },
    Sample {
        manager: Some(Cargo),
        version: Some("1.98"),
        lines: &["RUN mkdir /out && cp target/release/web /out/app"],
        ..sample(
            "Rust workspace with one program",
            Family::Rust,
            &[
                ("Cargo.toml", "[workspace]\nmembers = ['crates/*']\n"),
                ("crates/lib/Cargo.toml", "[package]\nname = 'lib'\n"),
                ("crates/lib/src/lib.rs", ""),
                ("crates/web/Cargo.toml", "[package]\nname = 'web'\n"),
                ("crates/web/src/main.rs", ""),
            ],
        )
    },
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
        framework: Some(Framework::AspNetCore),
        manager: Some(Nuget),
        version: Some("8.0"),
        lines: &[
            "FROM mcr.microsoft.com/dotnet/sdk:8.0 AS build",
            "RUN dotnet restore Shop.csproj",
            r#"CMD ["sh", "-c", "exec env ASPNETCORE_URLS=http://0.0.0.0:$PORT dotnet Shop.dll"]"#,
        ],
        ..sample(
            "ASP.NET Core",
            Family::Dotnet,
            &[(
                "Shop.csproj",
                "<Project Sdk=\"Microsoft.NET.Sdk.Web\"><TargetFramework>net8.0</TargetFramework></Project>",
            )],
        )
    },
    Sample {
        framework: Some(Framework::AspNetCore),
        manager: Some(Nuget),
        version: Some("10.0"),
        lines: &[
            "RUN dotnet publish Web/Web.csproj --configuration Release --output /out /p:UseAppHost=false",
        ],
        ..sample(
            ".NET solution",
            Family::Dotnet,
            &[
                ("All.slnx", ""),
                ("Lib/Lib.csproj", "<Project Sdk=\"Microsoft.NET.Sdk\"/>"),
                ("Tool/Tool.csproj", "<OutputType>Exe</OutputType>"),
                ("Web/Web.csproj", "<Project Sdk=\"Microsoft.NET.Sdk.Web\"><ProjectReference/></Project>"),
            ],
        )
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
    Sample {
        manager: Some(GoModules),
        version: Some("1.27"),
        lines: &["COPY backend/go.mod ./", "COPY backend/ ./"],
        ..sample(
            "the only application below the root",
            Family::Go,
            &[("README.md", ""), ("backend/go.mod", "module x\n"), ("backend/main.go", "package main\n")],
        )
    },
    Sample {
        manager: Some(GoModules),
        version: Some("1.27"),
        lines: &[],
        ..sample(
            "two servers, told apart by bytes",
            Family::Go,
            &[
                ("go.mod", "module x\n"),
                ("main.go", "package main\n// the larger of the two\n"),
                ("requirements.txt", ""),
                ("x.py", ""),
                ("index.html", "<html>far more bytes than anything else, and they do not count</html>"),
            ],
        )
    },
];

#[test]
fn every_sample_is_detected_and_gets_its_lines() {
    for sample in &SAMPLES {
        let name = sample.name;
        let plan = plan_of(sample.files).unwrap_or_else(|error| panic!("{name}: {error}"));
        let detected = plan.detected.as_ref().expect("a generated Dockerfile comes with a detection");
        assert_eq!(detected.family, sample.family, "{name}");
        assert_eq!(detected.framework, sample.framework, "{name}");
        assert_eq!(detected.package_manager, sample.manager, "{name}");
        assert_eq!(detected.runtime_version.as_deref(), sample.version, "{name}");
        assert!(!detected.evidence.is_empty(), "{name}");
        assert_eq!(plan.port, Some(sample.port), "{name}");
        let text = dockerfile(&plan);
        for expected in sample.lines {
            assert!(text.lines().any(|line| line == *expected), "{name}: no line {expected:?} in\n{text}");
        }
    }
}
