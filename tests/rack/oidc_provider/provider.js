// An OpenID Connect provider for the tests: whoever gives a name there is that person. Settings come as JSON on
// standard input: address, port, issuer, certificate, key, client, secret, callback, and groups by name.
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
const server = https.createServer({ cert: told.certificate, key: told.key }, provider.callback());
server.listen(told.port, told.address, () => console.log('listening'));
