//! Samples of Java, Kotlin, Go, Rust and .NET.

use super::{Sample, sample};
use crate::template::PackageManager::{Cargo, GoModules, Gradle, Maven, Nuget};
use crate::template::{Family, Framework};

pub(super) static SAMPLES: [Sample; 15] = [
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
