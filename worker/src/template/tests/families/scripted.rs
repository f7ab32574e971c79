//! Samples of Python and Node.js.

use super::{Sample, sample};
use crate::template::PackageManager::{Npm, Pip, Pnpm, Poetry, Uv, Yarn};
use crate::template::{Family, Framework};

pub(super) static SAMPLES: [Sample; 13] = [
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
];
