// An OpenID Connect provider for the tests: whoever gives a name there is that person. Settings come as JSON on
// standard input: address, port, issuer, certificate, key, client, secret, callback, groups by name,
// and `told`: what its discovery document says otherwise than it is.
import fs from 'node:fs';
import https from 'node:https';
import { Provider } from 'oidc-provider';

const told = JSON.parse(fs.readFileSync(0, 'utf8'));
const provider = new Provider(told.issuer, {
  clients: [{ client_id: told.client, client_secret: told.secret, redirect_uris: [told.callback] }],
  claims: { openid: ['sub'], profile: ['preferred_username', 'groups'] },
  cookies: { keys: [told.secret] },
  findAccount: (_, name) => ({
    accountId: name,
    claims: () => ({ sub: name, preferred_username: name, groups: told.groups[name] ?? [] }),
  }),
});
provider.use(async (ctx, next) => {
  await next();
  if (ctx.path === '/.well-known/openid-configuration') ctx.body = { ...ctx.body, ...told.told };
});
const server = https.createServer({ cert: told.certificate, key: told.key }, provider.callback());
server.listen(told.port, told.address, () => console.log('listening'));
