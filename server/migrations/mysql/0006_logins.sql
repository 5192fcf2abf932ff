-- Of daemon.init, while it waits for hosts: the package's URL with its login, which `params` leave out.
ALTER TABLE requests ADD COLUMN url MEDIUMTEXT;
